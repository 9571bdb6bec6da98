"""Celery's results of what was stopped, on a real Valkey and on a backend that knows no pipeline."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError

from lifecycle.runtime import revoked
from lifecycle.runtime.revoked import mark_revoked

IDS = [f"worker-{number}" for number in range(25)]


@pytest.fixture(params=["redis", "file"])
def app(request, tmp_path):
    url = request.getfixturevalue("valkey").url if request.param == "redis" else tmp_path.as_uri()
    app = Celery("revoked", broker="memory://", backend=url, set_as_current=False)
    yield app
    for each in IDS:
        app.backend.delete(app.backend.get_key_for_task(each))


def test_each_result_reads_as_if_celery_had_marked_it(app, monkeypatch):
    monkeypatch.setattr(revoked, "PAGE", 10)
    mark_revoked(app.backend, IDS, "Stopped by user")
    app.backend.mark_as_revoked("alone", "Stopped by user")
    expected = {**app.backend.get_task_meta("alone"), "date_done": None, "result": None, "task_id": None}
    for each in IDS:
        found = app.backend.get_task_meta(each)
        assert (str(found["result"]), found["task_id"]) == ("Stopped by user", each)
        assert {**found, "date_done": None, "result": None, "task_id": None} == expected


def test_a_stored_success_is_kept(app):
    app.backend.store_result(IDS[3], 42, "SUCCESS")
    mark_revoked(app.backend, IDS, "Stopped by user")
    assert [app.AsyncResult(each).state for each in IDS[2:5]] == ["REVOKED", "SUCCESS", "REVOKED"]


def test_who_waits_for_a_result_hears_of_it(app):
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(app.AsyncResult(IDS[7]).get, timeout=20)
        mark_revoked(app.backend, IDS, "Stopped by user")
        with pytest.raises(TaskRevokedError, match="Stopped by user"):
            waiting.result()


def test_results_live_as_long_as_others(valkey):
    app = Celery("revoked", broker="memory://", backend=valkey.url, set_as_current=False, result_expires=70)
    mark_revoked(app.backend, IDS[:2], "Stopped by user")
    assert 0 < app.backend.client.ttl(app.backend.get_key_for_task(IDS[0])) <= 70
