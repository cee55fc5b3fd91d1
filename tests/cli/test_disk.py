"""A disk without room: words before any work starts, or when it fills up under a stage; nothing half-written."""

import os
import shutil
import threading
import time

from tests.cli.conftest import whole


def test_small_disk(hlscape, tiny, tmpfs):
    disk = tmpfs(8)
    hlscape("run", tiny, "--until", "data", store=disk).refused(
        str(disk), "cannot be written", "less than 32 MiB are free", "HLSCAPE_STORE"
    )
    assert not (disk / "data").exists()


def test_disk_fills_up_under_a_stage(hlscape, tiny, tmpfs):
    disk = tmpfs(48)

    def fill() -> None:
        while not list((disk / "locks").glob("pretrain-*")):
            time.sleep(0.001)
        with (disk / "ballast").open("wb", 0) as stream:
            try:
                while stream.write(os.urandom(65536)):
                    pass
            except OSError:
                pass

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    done = hlscape("run", tiny, "--until", "pretrain", "--set", "train.pretrain_epochs=40", store=disk)
    thread.join(10)
    assert done.code == 2
    assert "cannot be written" in done.err
    assert "Traceback" not in done.err
    whole(disk)
    assert not list((disk / "pretrain").glob("*"))
    (disk / "ballast").unlink()
    assert hlscape("run", tiny, "--until", "pretrain", "--set", "train.pretrain_epochs=40", store=disk).code == 0
    whole(disk)


def test_results_cannot_be_published(hlscape, tiny, finished, tmp_path):
    shutil.rmtree(tmp_path / "hls_projects", ignore_errors=True)
    (tmp_path / "hls_projects").write_text("")
    done = hlscape("run", tiny, store=finished)
    assert done.code == 2
    assert "hls_projects" in done.err
    assert "Traceback" not in done.err
