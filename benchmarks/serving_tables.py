"""What the guide says of a server under load: blocks of docs/serving.md (language 0) and docs/zh/serving.md (1).

`report.py` writes each of them between `<!-- name -->` and `<!-- /name -->`, from the files in results/.
"""

from collections.abc import Callable

from stored import load

CLIENTS = {
    "honest": ("ask, and come again when they are told to", "正常请求，被告知稍后再来时会再来"),
    "slow writers": ("send their request slowly", "发送得很慢"),
    "slow readers": ("read their answer slowly", "读取得很慢"),
    "cut off": ("go away", "中途断开"),
    "too large": ("send more than is taken", "请求过大"),
    "broken JSON": ("send broken JSON", "JSON 不完整"),
    "wrong key": ("have a wrong key", "密钥不对"),
    "stalled": ("stop in the middle of a request", "发到一半停住"),
}
OUTCOMES = {
    "right": ("right", "正确"),
    "lost": ("nothing", "没有回答"),
    "unexpected": ("something else", "别的结果"),
    "in the head": ("gone in the head", "在请求头处断开"),
    "in the body": ("gone in the body", "在请求体处断开"),
    "before the answer": ("gone before the answer", "在回答之前断开"),
}
"""All but statuses."""


def soak(language: int) -> list[str]:
    """What each kind of clients got, and what became of the server."""
    result = load("soak")
    if result is None:
        return []
    up = "../" * (language + 1)
    machine, memory, limits = result["machine"], result["resident_megabytes_by_fifth"], result["limits"]
    rows = [
        ("| clients that | at once | requests | outcome |", "| 客户端 | 同时 | 请求 | 结果 |")[language],
        "|---|---:|---:|---|",
    ]
    for kind, outcomes in result["outcomes"].items():
        counts = [f"{OUTCOMES[each][language] if each in OUTCOMES else each}: {n:,}" for each, n in outcomes.items()]
        cells = (
            CLIENTS[kind][language],
            str(result["clients"][kind]),
            f"{sum(outcomes.values()):,}",
            ", ".join(counts),
        )
        rows.append(f"| {' | '.join(cells)} |")
    megabytes = (", ", "、")[language].join(f"{each:.0f}" for each in memory)
    log, code = result["log"], result["exit_code"]
    return [
        (
            f"[`benchmarks/serving/soak.py`]({up}benchmarks/serving/soak.py) puts a server under "
            f"{result['minutes']:g} minutes of load, with a queue of {limits['queue']:,} characters and clients of all "
            f"kinds ([file]({up}benchmarks/results/soak.json); {machine['processor']}, {machine['cores']} cores, which "
            f"the clients share). *Right*: what `zhuyi translate` had made of the same lines before, "
            f"{result['lines_compared']:,} in all.",
            f"[`benchmarks/serving/soak.py`]({up}benchmarks/serving/soak.py) 让服务器承受 {result['minutes']:g} 分钟的"
            f"负载，队列为 {limits['queue']:,} 个字符，各种客户端都有（[结果文件]({up}benchmarks/results/soak.json)；"
            f"{machine['processor']}，{machine['cores']} 核，客户端也在上面）。“正确”指与事先用 `zhuyi translate` "
            f"翻译同样的行得到的结果相同，共比较了 {result['lines_compared']:,} 行。",
        )[language],
        "",
        *rows,
        "",
        (
            f"Resident memory in each fifth of the time: {megabytes} MB. The log has {log['lines']} lines and "
            f"{log['tracebacks']} tracebacks; SIGTERM ended the server with exit code {code}.",
            f"五段时间里的常驻内存依次为 {megabytes} MB。日志有 {log['lines']} 行、{log['tracebacks']} 个 traceback；"
            f"SIGTERM 之后服务器以退出码 {code} 结束。",
        )[language],
    ]


BLOCKS: dict[str, Callable[[int], list[str]]] = {"soak": soak}
