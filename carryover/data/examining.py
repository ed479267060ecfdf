"""Recordings examined by several threads, in their order; what a killed process had found is not looked for again.

Findings are appended to a journal, a line a recording. A file that has changed since (size or time) is examined anew.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from carryover.data.listed import size_and_time
from carryover.data.utterance import Utterance

JOURNAL = "examined.partial.jsonl"
CHUNK = 64  # recordings a thread takes at a time
AHEAD = 4  # chunks a thread that wait: a corpus of any size is never queued whole

Finding = tuple[list | None, str | None]  # (duration, form, digest, ...) and the reason to refuse, one of them None


def examine(
    utterances: Sequence[Utterance],
    look: Callable[[Utterance], tuple],
    workers: int,
    journal: Path,
    about: dict,
    title: str,
) -> Iterator[tuple[Utterance, Finding]]:
    """Each utterance with what was found of its recording, in the order given.

    Parameters
    ----------
    look : callable
        Utterance -> (duration, form, digest, ...), JSON-serialisable, or ValueError with the reason.
    workers : int
        Threads: decoding and hashing leave Python's lock.
    journal : Path
        Is read where a killed process left one with the same `about`, and appended to.
    about : dict
        What the findings depend on besides the files.
    title : str
        Of the progress bar.
    """
    known = _read(journal, about)
    if known:
        print(f"{journal}: {len(known)} of {len(utterances)} recordings were examined before a stop; going on")

    def of_chunk(chunk: Sequence[Utterance]) -> tuple[list[Finding], str]:
        findings, lines = [], []
        for u in chunk:
            file = size_and_time(u.audio)
            found = known.get((u.split, u.ID))
            if found and found[0] == [u.audio, *file]:
                findings.append((found[1], found[2]))
                continue
            findings.append(_look(look, u))
            lines.append(json.dumps([u.split, u.ID, [u.audio, *file], *findings[-1]], ensure_ascii=False) + "\n")
        return findings, "".join(lines)

    chunks = (utterances[i : i + CHUNK] for i in range(0, len(utterances), CHUNK))
    waiting: deque = deque()
    bar = tqdm(total=len(utterances), desc=title, unit="clip")
    pool = ThreadPoolExecutor(workers)
    try:
        with open(journal, "a", encoding="utf-8") as file, bar:
            while True:
                while len(waiting) < AHEAD * workers and (chunk := next(chunks, None)):
                    waiting.append((chunk, pool.submit(of_chunk, chunk)))
                if not waiting:
                    return
                chunk, future = waiting.popleft()
                findings, lines = future.result()
                file.write(lines)
                file.flush()
                yield from zip(chunk, findings, strict=True)
                bar.update(len(chunk))
    finally:  # an error or Ctrl-C does not wait until all that is queued is decoded
        pool.shutdown(cancel_futures=True)


def _look(look: Callable[[Utterance], tuple], u: Utterance) -> Finding:
    try:
        return list(look(u)), None
    except ValueError as error:
        return None, str(error)


def _read(journal: Path, about: dict) -> dict[tuple[str, str], list]:
    """Findings of a journal by (split, ID): [[path, size, time], found, reason]. One of other settings, or damaged, is
    begun anew; a line that a kill cut is taken off."""
    first = json.dumps(about, sort_keys=True, ensure_ascii=False) + "\n"
    data = journal.read_bytes() if journal.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    lines = whole.decode("utf-8", errors="replace").split("\n")[:-1]
    found = {}
    try:
        if lines and lines[0] + "\n" == first:
            for line in lines[1:]:
                split, ID, file, *finding = json.loads(line)
                found[split, ID] = [file, *finding]
            with open(journal, "r+b") as file:
                file.truncate(len(whole))
            return found
    except ValueError:
        print(f"{journal} is damaged; all recordings are examined anew")
    journal.parent.mkdir(parents=True, exist_ok=True)
    with open(journal, "w", encoding="utf-8") as file:
        file.write(first)
    return {}
