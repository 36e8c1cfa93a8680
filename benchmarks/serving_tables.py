"""What is measured of a server under load: blocks of docs/serving.md (language 0) and docs/zh/serving.md (1).

`report.py` writes each of them between `<!-- name -->` and `<!-- /name -->`, from the files in results/.
"""

from collections.abc import Callable, Sequence
from typing import Any

from stored import load

CLIENTS = {
    "honest": ("ask, and retry after a 429", "正常请求，收到 429 后重试"),
    "slow writers": ("send their request slowly", "发送得很慢"),
    "slow readers": ("read their answer slowly", "读取得很慢"),
    "cut off": ("go away", "中途断开"),
    "too large": ("send more than is taken", "请求过大"),
    "broken JSON": ("send broken JSON", "JSON 不完整"),
    "wrong key": ("have a wrong key", "密钥不对"),
    "stalled": ("stop in the middle of a request", "发到一半停住"),
    "slow heads": ("send the head of a request a byte a second", "请求头一秒只发一个字节"),
    "silent": ("open a connection and say nothing", "连接后什么也不发"),
}
OUTCOMES = {
    "right": ("right", "正确"),
    "lost": ("nothing", "没有回答"),
    "unexpected": ("something else", "别的结果"),
    "in the head": ("gone in the head", "在请求头处断开"),
    "in the body": ("gone in the body", "在请求体处断开"),
    "before the answer": ("gone before the answer", "在回答之前断开"),
    "closed": ("connection closed", "连接被关闭"),
}
"""Outcomes that are not the status of an answer."""

COLON = (": ", "：")
LABELS = {"ctranslate2": "CTranslate2", "libretranslate": "LibreTranslate"}
LINES = {"short": ("short", "短句"), "mixed": ("mixed", "长短不一")}
UNDER_LOAD = (
    (
        "`benchmarks/serving/run.py` lets 1 to 256 clients ask, each its next line as soon as it has an answer. In "
        "turn they ask\n{servers}: the same model ({model} M parameters,\n{precision}), beam and lines, on the cores "
        "that the clients need too ({processor}, {cores} cores; medians of {rounds} rounds).",
        "With a beam of 5, mixed lines and 64 clients that is {characters} characters a second: a hundred million "
        "characters are\n{hours} hours of this machine.",
    ),
    (
        "`benchmarks/serving/run.py` 让 1 到 256 个客户端提问，每个一得到回答就问下一句，轮流问{servers}：\n"
        "模型（{model} M 参数，{precision}）、束宽和句子都相同，"
        "客户端也占用同样的核（{processor}，{cores} 核，取 {rounds} 轮的中位数）。",
        "束宽 5、长短不一的句子、64 个客户端时，合每秒 {characters} 个字符：一亿个字符要用这台机器 {hours} 小时。",
    ),
)
"""What stands before the table, and after it."""
PEERS = {
    "ctranslate2": ("CTranslate2 behind FastAPI", "FastAPI 后面的 CTranslate2"),
    "libretranslate": ("LibreTranslate {version}", "LibreTranslate {version}"),
}
"""The servers beside ours."""
OURS = ("this server", "这个服务器")
JOINED = ((", ", " and "), ("、", " 和 "))
"""How the names of servers are put together, and the last with them."""
REMARK = (
    "LibreTranslate does not split texts into sentences here, and its server takes 100 connections at most; all else "
    "is its\ndefault. The ratio is that to the faster of the two.",
    "LibreTranslate 在这里不分句，它的服务器最多接受 100 个连接，其余都是默认设置。“倍数”与两者中较快的一个相比。",
)
"""Where LibreTranslate takes part."""
COLUMNS = (
    ("beam", "lines", "clients", "requests a second", "p50 / p95 / p99, ms", "ratio"),
    ("束宽", "句子", "客户端", "每秒请求数", "p50 / p95 / p99，毫秒", "倍数"),
)


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
    colon, comma = COLON[language], (", ", "，")[language]
    for kind, outcomes in result["outcomes"].items():
        often = sorted(outcomes.items(), key=lambda outcome: -outcome[1])
        counts = comma.join(f"{OUTCOMES.get(name, (name, name))[language]}{colon}{count:,}" for name, count in often)
        cells = (CLIENTS[kind][language], str(result["clients"][kind]), f"{sum(outcomes.values()):,}", counts)
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


def under_load(language: int) -> list[str]:
    """Requests a second and latency of the server and its peers, and the hours that 10⁸ characters take."""
    result = load("serving")
    if result is None:
        return []
    peers = [peer for peer in PEERS if all(peer in systems for systems in result["beams"].values())]
    version = result["packages"].get("libretranslate")
    *names, last = (PEERS[peer][language].format(version=version) for peer in peers)
    between, last_between = JOINED[language]
    busy = result["beams"]["5"]["zhuyi"]["mixed, 64"]["requests_per_second"][1]
    characters = busy * result["lines"]["mixed"]["characters"]
    figures = {
        "servers": between.join([OURS[language], *names]) + last_between + last,
        "model": f"{result['parameters'] / 1e6:.1f}",
        "precision": result["settings"]["precision"],
        "processor": result["machine"]["processor"],
        "cores": result["machine"]["cores"],
        "rounds": result["settings"]["rounds"],
        "characters": f"{characters:,.0f}",
        "hours": f"{1e8 / characters / 3600:.1f}",
    }
    before, after = (text.format(**figures) for text in UNDER_LOAD[language])
    remark = ["", REMARK[language]] if "libretranslate" in peers else []
    return [before, "", *_table(result["beams"], peers, language), *remark, "", after]


def _table(beams: dict[str, Any], peers: Sequence[str], language: int) -> list[str]:
    """A row for each beam, kind of lines and number of clients."""
    *keys, speed, latencies, ratio = COLUMNS[language]
    of_peers = [f"{LABELS[peer]}{COLON[language]}{speed} | {latencies}" for peer in peers]
    rows = [
        f"| {' | '.join([*keys, speed, latencies, *of_peers, ratio])} |",
        f"|---|---|---:|---:|---:|{'---:|---:|' * len(peers)}---:|",
    ]
    for beam, systems in beams.items():
        for cell in systems["zhuyi"]:
            lengths, clients = cell.split(", ")
            own, *others = (systems[system][cell] for system in ("zhuyi", *peers))
            measured = " | ".join(f"{_speed(each):,.0f} | {_latencies(each)}" for each in (own, *others))
            gain = _speed(own) / max(map(_speed, others))
            rows.append(f"| {beam} | {LINES[lengths][language]} | {clients} | {measured} | {gain:.2f}× |")
    return rows


def _speed(figures: dict[str, list[float]]) -> float:
    return figures["requests_per_second"][1]


def _latencies(figures: dict[str, list[float]]) -> str:
    return " / ".join(f"{figures[f'p{p}'][1]:,.0f}" for p in (50, 95, 99))


def balancer(language: int) -> list[str]:
    """What became of requests through nginx, while one of two servers ended."""
    result = load("balancer")
    if result is None:
        return []
    up = "../" * (language + 1)
    script, file = f"{up}benchmarks/serving/balancer.py", f"{up}benchmarks/results/balancer.json"
    asked, right, clients = result["requests"], result["outcomes"]["right"], result["clients"]
    return [
        (
            f"[`balancer.py`]({script}) runs these lines before two processes on one machine; one gets SIGTERM while "
            f"{clients} clients\nask: {right} of {asked} requests got the right answer ([file]({file}); nginx "
            f"{result['nginx']}).",
            f"[`balancer.py`]({script}) 用这份配置在一台机器上运行两个进程，{clients} 个客户端提问，途中一个进程收到 "
            f"SIGTERM：\n{asked} 个请求中有 {right} 个得到正确的回答（[结果文件]({file})；nginx {result['nginx']}）。",
        )[language]
    ]


BLOCKS: dict[str, Callable[[int], list[str]]] = {"serving load": under_load, "soak": soak, "serving balancer": balancer}
