"""A plain server: CTranslate2 behind FastAPI, with a model that `zhuyi export` has written.

    python ctranslate2_server.py DIRECTORY --port 8001 --beam 1 --limit 128

It answers `POST /translate` as LibreTranslate does. Each request calls CTranslate2 in a thread of its own; CTranslate2
has one worker per core, and a queue before them. Needs ctranslate2, tokenizers, fastapi and uvicorn; imports neither
torch nor zhuyi.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "active")  # before CTranslate2 is loaded

import ctranslate2
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from tokenizers import Tokenizer


class Asked(BaseModel):
    q: str
    source: str
    target: str


def application(directory: Path, compute_type: str, beam: int, limit: int) -> FastAPI:
    app = FastAPI()
    translator = ctranslate2.Translator(
        str(directory), compute_type=compute_type, inter_threads=os.cpu_count(), intra_threads=1
    )
    one = directory / "tokenizer.json"
    source, target = (
        Tokenizer.from_file(str(one if one.exists() else one.with_suffix(f".{side}.json")))
        for side in ("source", "target")
    )

    @app.post("/translate")
    def translate(asked: Asked) -> dict[str, str]:
        tokens = source.encode(asked.q, add_special_tokens=False).tokens[: limit - 1]
        (found,) = translator.translate_batch(
            [tokens], beam_size=beam, length_penalty=0, min_decoding_length=0, max_decoding_length=limit
        )
        return {"translatedText": target.decoder.decode(found.hypotheses[0])}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--compute-type", default="float32")
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--limit", type=int, required=True)
    arguments = parser.parse_args()
    app = application(arguments.directory, arguments.compute_type, arguments.beam, arguments.limit)
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
