"""The witness's file under many threads of one process."""

from concurrent.futures import ThreadPoolExecutor

from billing.operating import witness

MARKERS = [f"marker{number}" for number in range(400)]


def test_threads_of_one_process_write_whole_files() -> None:
    def write(marker: str) -> None:
        witness.note("epoch", marker=marker)
        (found,) = witness.read_all().values()
        assert found.epoch == "epoch"
        assert found.marker in MARKERS

    witness.make_ready()
    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(write, marker) for marker in MARKERS]:
            each.result()
