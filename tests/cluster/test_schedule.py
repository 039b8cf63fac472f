"""``flprivacy schedule`` against the published API: pinned, paused, run now, and replaced without a moment without."""

import pytest

from flprivacy.cluster import schedules
from tests.cluster.command import Command
from tests.services.kfp_state import Fault, KfpState

CREATE = ("schedule", "create", "nightly", "study", "--cron", "0 0 2 * * *")
CHANGED = (*CREATE, "--set", "cohort.seed=4")


def test_a_schedule_is_pinned_without_catch_up_one_at_a_time(kfp: KfpState, flprivacy: Command) -> None:
    result = flprivacy(*CREATE)
    (made,) = kfp.schedules.values()
    (version,) = kfp.versions.values()
    assert made["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]
    assert (made["no_catchup"], made["max_concurrency"], made["mode"]) == (True, "1", "ENABLE")
    assert made["trigger"] == {"cron_schedule": {"cron": "0 0 2 * * *"}}
    assert made["service_account"] == "flprivacy-steps"
    assert f"created · {made['recurring_run_id']}" in result.output
    assert f"version {version['name']}" in result.output
    assert " 02:00:00 UTC" in result.output


def test_a_re_audit_of_what_is_published_is_scheduled(kfp: KfpState, flprivacy: Command) -> None:
    words = ("--cohort", "s3://data/cohort", "--targets-from", "s3://models/published", "--fail-on-worse")
    more = ("--targets-from", "models:/chest-ct@production", "--target", "old=s3://models/old")
    flprivacy("schedule", "create", "nightly", "re_audit", "--cron", "@daily", *words, *more)
    (made,) = kfp.schedules.values()
    assert made["runtime_config"]["parameters"] == {
        "cohort": "s3://data/cohort",
        "targets": {"old": "s3://models/old"},
        "targets_from": ["s3://models/published", "models:/chest-ct@production"],
        "fail_on_worse": True,
    }


def test_five_fields_get_their_seconds_and_a_zone_is_written_in_the_cluster_s(
    kfp: KfpState, flprivacy: Command
) -> None:
    words = ("schedule", "create", "a", "study", "--cron", "30 2 * * 1", "--timezone", "Asia/Tokyo")
    result = flprivacy(*words)
    (made,) = kfp.schedules.values()
    assert made["trigger"]["cron_schedule"]["cron"] == "0 30 17 * * 0"
    assert "has five fields; taken as '0 30 2 * * 1', at second 0" in result.output
    assert "'0 30 2 * * 1' in Asia/Tokyo is '0 30 17 * * 0' in UTC" in result.output
    assert " 02:30:00 Asia/Tokyo" in result.output
    berlin = ("schedule", "create", "b", "study", "--cron", "0 0 2 * * *", "--timezone", "Europe/Berlin")
    refused = flprivacy(*berlin, code=2).output
    assert "its offset from UTC, which schedules follow, varies" in refused
    assert "cronScheduleTimezone: Europe/Berlin" in refused
    assert len(kfp.schedules) == 1
    flprivacy(*berlin, "--cluster-timezone", "Europe/Berlin")
    assert [s["trigger"]["cron_schedule"]["cron"] for s in kfp.schedules.values()][1] == "0 0 2 * * *"


def test_the_same_command_changes_nothing(kfp: KfpState, flprivacy: Command) -> None:
    flprivacy(*CREATE)
    before = dict(kfp.schedules)
    assert "unchanged" in flprivacy(*CREATE).output
    assert kfp.schedules == before
    assert kfp.count("RecurringRunService_CreateRecurringRun") == 1


def test_another_configuration_takes_its_place_without_a_moment_without(kfp: KfpState, flprivacy: Command) -> None:
    flprivacy(*CREATE)
    (old,) = kfp.schedules
    kfp.runs["under way"] = {"run_id": "under way", "recurring_run_id": old}
    assert "replaced 1 older" in flprivacy(*CHANGED).output
    (new,) = kfp.schedules.values()
    assert new["recurring_run_id"] != old
    assert new["runtime_config"]["parameters"]["overrides"] == {"cohort": {"seed": 4}}
    assert kfp.enabled["nightly"] == [1, 2, 1]
    assert "under way" in kfp.runs  # its owner was deleted, and it goes on


@pytest.mark.parametrize("cron", ["0 0 3 * * *", "@daily"])
def test_another_time_is_another_schedule(kfp: KfpState, flprivacy: Command, cron: str) -> None:
    flprivacy(*CREATE)
    flprivacy("schedule", "create", "nightly", "study", "--cron", cron)
    assert kfp.enabled["nightly"] == [1, 2, 1]


def test_a_replacement_killed_before_the_old_one_is_deleted_is_mended_by_repeating_it(
    kfp: KfpState, flprivacy: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    flprivacy(*CREATE)

    def killed(*words: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(schedules, "delete_schedule", killed)
        flprivacy(*CHANGED, code=130)
    assert len(kfp.schedules) == 2
    assert "unchanged, 1 older deleted" in flprivacy(*CHANGED).output
    (left,) = kfp.schedules.values()
    assert left["runtime_config"]["parameters"]["overrides"] == {"cohort": {"seed": 4}}
    assert min(kfp.enabled["nightly"]) == 1
    assert kfp.count("RecurringRunService_CreateRecurringRun") == 2


def test_after_a_killed_replacement_the_old_configuration_can_be_wanted_again(
    kfp: KfpState, flprivacy: Command
) -> None:
    flprivacy(*CREATE)
    (old,) = kfp.schedules
    kfp.faults = [Fault("RecurringRunService_DeleteRecurringRun", 500)]
    flprivacy(*CHANGED, code=2)
    assert len(kfp.schedules) == 2
    flprivacy(*CREATE)
    assert list(kfp.schedules) == [old]
    assert min(kfp.enabled["nightly"]) == 1


def test_a_replacement_that_the_server_refuses_leaves_the_old_one(kfp: KfpState, flprivacy: Command) -> None:
    flprivacy(*CREATE)
    before = dict(kfp.schedules)
    kfp.faults = [Fault("RecurringRunService_CreateRecurringRun", 403)]
    assert "not allowed (403)" in flprivacy(*CHANGED, code=2).output
    assert kfp.schedules == before


def test_lost_answers_make_no_second_schedule(kfp: KfpState, flprivacy: Command) -> None:
    kfp.faults = [Fault("RecurringRunService_CreateRecurringRun", 504, after=True)]
    flprivacy(*CREATE)
    kfp.faults = [Fault("RecurringRunService_DeleteRecurringRun", 503, after=True)]
    flprivacy(*CHANGED)
    assert kfp.enabled["nightly"] == [1, 2, 1]


def test_a_paused_schedule_is_replaced_by_an_enabled_one_and_that_is_said(kfp: KfpState, flprivacy: Command) -> None:
    flprivacy(*CREATE)
    flprivacy("schedule", "pause", "nightly")
    assert [s["status"] for s in kfp.schedules.values()] == ["DISABLED"]
    assert "it was paused, and is now enabled" in flprivacy(*CHANGED).output
    flprivacy("schedule", "pause", "nightly")
    assert "it was paused, and is now enabled" in flprivacy(*CHANGED).output  # the same one, resumed
    assert [s["status"] for s in kfp.schedules.values()] == ["ENABLED"]
    flprivacy("schedule", "pause", "nightly")
    flprivacy("schedule", "resume", "nightly")
    assert kfp.enabled["nightly"][-2:] == [0, 1]


def test_what_others_made_is_left_alone(kfp: KfpState, flprivacy: Command) -> None:
    foreign = kfp.add_schedule("nightly")
    assert "was not created by flprivacy; choose another name" in flprivacy(*CREATE, code=2).output
    for verb in ("pause", "resume", "delete", "run"):
        assert "there is none that flprivacy created" in flprivacy("schedule", verb, "nightly", code=2).output
    assert "no schedule that flprivacy created" in flprivacy("schedule", "list").output
    assert list(kfp.schedules) == [foreign]


def test_the_list_shows_how_the_last_run_ended_and_what_was_made_elsewhere(kfp: KfpState, flprivacy: Command) -> None:
    flprivacy(*CREATE)
    (schedule,) = kfp.schedules.values()
    assert " - " in flprivacy("schedule", "list").output
    states = {"older": "SUCCEEDED", "newer": "FAILED"}
    for number, (name, state) in enumerate(states.items()):
        kfp.runs[name] = {
            "run_id": name,
            "display_name": name,
            "state": state,
            "experiment_id": "e",
            "created_at": f"2026-01-0{number + 1}T00:00:00Z",
            "recurring_run_id": schedule["recurring_run_id"],
            "pipeline_version_reference": schedule["pipeline_version_reference"],
        }
    foreign = kfp.schedules[kfp.add_schedule("from the form")]
    foreign["pipeline_version_reference"] = schedule["pipeline_version_reference"]
    kfp.add_schedule("of another pipeline")
    output = flprivacy("schedule", "list").output
    assert "failed" in output
    assert "succeeded" not in output
    assert "made elsewhere, so not kept here: from the form" in output
    assert "of another pipeline" not in output


def test_many_are_listed_page_by_page_with_their_next_times(kfp: KfpState, flprivacy: Command) -> None:
    mark = f"flprivacy schedule {'0' * 64}; 0 0 2 * * * (UTC); flprivacy 1"
    for number in range(230):
        kfp.add_schedule(f"s{number:03}", mark, enabled=number % 2 == 0)
    output = flprivacy("schedule", "list").output
    assert kfp.count("RecurringRunService_ListRecurringRuns") == 3
    rows = [line for line in output.splitlines() if "0 0 2 * * *" in line]
    assert [row.split()[1] for row in rows] == [f"s{number:03}" for number in range(230)]
    assert "enabled" in rows[0]
    assert "02:00:00 UTC" in rows[0]
    assert "paused" in rows[1]
    assert "02:00:00 UTC" not in rows[1]
    assert "v (deleted)" in rows[0]


def test_run_now_runs_the_schedule_s_own_version_with_its_own_parameters(kfp: KfpState, flprivacy: Command) -> None:
    flprivacy(*CHANGED)
    (made,) = kfp.schedules.values()
    result = flprivacy("schedule", "run", "nightly", "--poll", "0")
    (run,) = kfp.runs.values()
    for same in ("pipeline_version_reference", "runtime_config", "experiment_id", "service_account"):
        assert run[same] == made[same]
    assert "plan-study: succeeded" in result.output
    assert kfp.enabled["nightly"] == [1]


def test_an_experiment_of_the_plugin_with_which_no_run_would_begin_is_refused(
    kfp: KfpState, flprivacy: Command
) -> None:
    refused = flprivacy(*CREATE, "--mlflow-experiment", "audits", code=2)
    assert "Kubeflow 2.17 loses the parameters of a schedule that names one" in refused.output.replace("\n", " ")
    assert (kfp.asked, kfp.schedules) == ([], {})


def test_run_now_tells_a_failure_by_its_exit_code(kfp: KfpState, flprivacy: Command) -> None:
    flprivacy(*CREATE)
    kfp.plots = [(("FAILED", []),)]
    flprivacy("schedule", "run", "nightly", "--poll", "0", code=3)


def test_deleting_deletes_all_of_the_name_and_what_is_gone_is_no_error(kfp: KfpState, flprivacy: Command) -> None:
    flprivacy(*CREATE)
    kfp.faults = [Fault("RecurringRunService_DeleteRecurringRun", 500)]
    flprivacy(*CHANGED, code=2)  # two are left
    kfp.faults = [Fault("RecurringRunService_DeleteRecurringRun", 404)]
    flprivacy("schedule", "delete", "nightly")
    assert len(kfp.schedules) == 1  # the one that the server called missing
    flprivacy("schedule", "delete", "nightly")
    assert kfp.schedules == {}
    assert "there is none that flprivacy created" in flprivacy("schedule", "delete", "nightly", code=2).output


def test_pausing_pauses_what_a_killed_replacement_left_too(kfp: KfpState, flprivacy: Command) -> None:
    flprivacy(*CREATE)
    kfp.faults = [Fault("RecurringRunService_DeleteRecurringRun", 500)]
    flprivacy(*CHANGED, code=2)
    flprivacy("schedule", "pause", "nightly")
    assert {s["status"] for s in kfp.schedules.values()} == {"DISABLED"}
    flprivacy("schedule", "resume", "nightly")
    assert kfp.enabled["nightly"][-1] == 1
