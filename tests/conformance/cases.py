"""What an installation must do: the five pipelines in their smallest form, failures that can be provoked from outside,
and the life of a schedule. Each case returns what it saw, in a line."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from flprivacy.cluster.kubectl import Kubectl
from flprivacy.study.plan import MOST_RESULTS
from tests.conformance.installation import SMALL, Installation, NotConformingError

Case = Callable[[Installation], str]
A_MINUTE, A_START = 60.0, 180.0  # seconds, the latter with a pod for the first step
_ATTEMPTS, _EVERY_SECONDS = 60, 5.0
_CHECK = ("--set", "dp_check.target.epochs=2", "--set", "cohort.scans=120", "--set", "cohort.shape=[8,32,40]")
_GENERATOR = ("--set", "generator={steps: 20, width: 4, batch_size: 8}")
_NOWHERE = 'train_nodes={"flprivacy.io/nowhere": "yes"}'


def fits(there: Installation) -> str:
    """Say whether the installation fits, by its own check."""
    text = there.run("cluster", "check", *SMALL).need()
    return f"{text.count(chr(0x2713))} lines fit"


def study(there: Installation) -> str:
    """Run a study."""
    done = there.submit("study", "--preset", "quick", "--run-name", f"{there.name} study")
    done.need("succeeded")
    return f"{done.seconds:.0f} s"


def privacy_audit(there: Installation) -> str:
    """Audit a published target on a published cohort."""
    done = there.submit("privacy_audit", *_given(there), "--run-name", f"{there.name} audit")
    done.need("succeeded")
    return f"{done.seconds:.0f} s"


def privacy_audit_again(there: Installation) -> str:
    """Audit the same again: what did not change comes from the cache."""
    done = there.submit("privacy_audit", *_given(there), "--run-name", f"{there.name} audit again")
    if "no run has the tag" in done.need("succeeded"):
        raise NotConformingError("its result, which MLflow had before, is not found by the run's id")
    return f"{done.seconds:.0f} s"


def re_audit(there: Installation) -> str:
    """Audit what was published, and then find that nothing is new."""
    published = there.publish()
    words = ("--cohort", published["cohort"], "--targets-from", published["central"], "--preset", "quick")
    first = there.submit("re_audit", *words)
    first.need("succeeded")
    second = there.submit("re_audit", *words)
    second.need("succeeded")
    return f"{first.seconds:.0f} s, with nothing new {second.seconds:.0f} s"


def train_generator(there: Installation) -> str:
    """Train a generator on a published cohort, and check what it makes."""
    words = ("--cohort", there.publish()["cohort"], "--preset", "quick", *_GENERATOR)
    done = there.submit("train_generator", *words)
    done.need("succeeded")
    return f"{done.seconds:.0f} s"


def dp_check(there: Installation) -> str:
    """Check private training with canaries."""
    done = there.submit("dp_check", "--preset", "demo", *_CHECK)
    done.need("succeeded")
    return f"{done.seconds:.0f} s"


def wrong_quantity(there: Installation) -> str:
    """A memory that Kubernetes cannot read ends the run in its first step, by the parameter's name."""
    done = there.submit("study", "--preset", "quick", "--param", "train_memory=plenty")
    text = done.output
    if "train_memory" not in text or done.code not in (2, 3):
        raise NotConformingError(f"exit code {done.code}, and train_memory is not named: {text[-300:]}")
    done.need(code=done.code, within_seconds=A_START)
    return f"named after {done.seconds:.0f} s"


def unknown_account(there: Installation) -> str:
    """An account that is not there is named."""
    done = there.submit("study", "--preset", "quick", "--service-account", "nobody-of-this-name")
    done.need("nobody-of-this-name", code=3, within_seconds=A_START)
    return f"named after {done.seconds:.0f} s"


def out_of_memory(there: Installation) -> str:
    """A step that is killed for its memory says so."""
    done = there.submit("study", "--preset", "quick", "--param", "work_memory=24Mi")
    done.need("out of memory", code=3)
    return f"told after {done.seconds:.0f} s"


def target_out_of_memory(there: Installation) -> str:
    """One target whose attack does not fit into its pod's memory is its own line; the others' audit is complete."""
    published = there.publish()
    done = there.submit("privacy_audit", *_given(there), "--target", f"huge={published['huge']}")
    done.need("huge was not audited", "out of memory", "could not be audited, the others were", code=3)
    return f"told after {done.seconds:.0f} s"


def unschedulable(there: Installation) -> str:
    """A pod that no node takes shows the scheduler's reason within two minutes, and its run can be stopped."""
    small = (*SMALL, "--param", _NOWHERE, "--no-wait", "--set", f"cohort.seed={time.time_ns() % 10**6}")
    run = _run_id(there.submit("study", "--preset", "quick", small=small).need())
    began, text = time.monotonic(), ""
    try:
        for _ in range(_ATTEMPTS):
            text = there.run("runs", "show", run).output
            if "Unschedulable" in text:
                return f"shown after {time.monotonic() - began:.0f} s"
            time.sleep(_EVERY_SECONDS)
    finally:
        there.run("runs", "stop", run).need("stopping")
    raise NotConformingError(f"no reason was shown: {text[-300:]}")


def missing_target(there: Installation) -> str:
    """A target that is not there ends the run in its first step, by its URI."""
    published = there.publish()
    words = ("--cohort", published["cohort"], "--target", f"lost={there.store}/published/lost", "--preset", "quick")
    done = there.submit("privacy_audit", *words)
    done.need("published/lost", code=3, within_seconds=A_START)
    return f"named after {done.seconds:.0f} s"


def damaged_target(there: Installation) -> str:
    """One target that cannot be used is its own line; the other's audit is complete."""
    published = there.publish()
    done = there.submit("privacy_audit", *_given(there), "--target", f"damaged={published['damaged']}")
    done.need("1 target(s) could not be audited", "damaged", code=3)
    return f"told after {done.seconds:.0f} s"


def too_many_targets(there: Installation) -> str:
    """More targets than a run takes are refused before anything is sent."""
    words = [word for n in range(MOST_RESULTS + 1) for word in ("--target", f"t{n}={there.store}/{n}")]
    there.submit("privacy_audit", "--cohort", f"{there.store}/none", *words).need("split the targets", code=2)
    return "refused at once"


def lost_pod(there: Installation) -> str:
    """A step whose pod is lost by force is tried again, and the run succeeds."""
    small = (*SMALL, "--no-wait", "--set", f"cohort.seed={time.time_ns() % 10**6}")
    run = _run_id(there.submit("study", "--preset", "quick", small=small).need())
    for _ in range(_ATTEMPTS):
        pods = Kubectl().every("pods", "-l", f"pipeline/runid={run}")
        names = [(one["metadata"]["namespace"], one["metadata"]["name"]) for one in pods if _runs_step(one)]
        if names:
            Kubectl().run("delete", "pod", names[0][1], "-n", names[0][0], "--force", "--grace-period=0")
            done = there.run("runs", "watch", run)
            done.need("succeeded")
            return f"{names[0][1]} was deleted, the run succeeded"
        time.sleep(_EVERY_SECONDS)
    raise NotConformingError("no pod of a step was seen")


def interrupted_watch(there: Installation) -> str:
    """A run that was only started is watched by its id until its end."""
    small = (*SMALL, "--no-wait")
    run = _run_id(there.submit("study", "--preset", "quick", small=small).need())
    there.run("runs", "watch", run).need("succeeded")
    if run not in there.run("runs", "list").need().replace("\n", ""):
        raise NotConformingError("'runs list' does not show it")
    return "seen to its end"


def schedule(there: Installation) -> str:
    """A schedule is created, runs now, is listed, paused, resumed and deleted."""
    name = there.name
    words = ("--cron", "0 0 3 * * *", "--store", there.store, "--preset", "quick", *SMALL)
    there.run("schedule", "create", name, "study", *words).need("created")
    try:
        there.run("schedule", "run", name).need("succeeded")
        there.run("schedule", "list").need(name)
        there.run("schedule", "pause", name).need()
        there.run("schedule", "resume", name).need()
    finally:
        there.run("schedule", "delete", name).need()
    if name in there.run("schedule", "list").output:
        raise NotConformingError("it is still listed after its end")
    return "created, run, paused, resumed, deleted"


def _given(there: Installation) -> tuple[str, ...]:
    published = there.publish()
    return ("--cohort", published["cohort"], "--target", f"central={published['central']}", "--preset", "quick")


def _run_id(output: str) -> str:
    """Return the id of the run that a command started."""
    line = next(line for line in output.splitlines() if line.startswith("run:"))
    return line.rpartition(" ")[2].strip()


def _runs_step(pod: Mapping[str, Any]) -> bool:
    """Tell whether a pod is a step's, past its start."""
    main = [one for one in pod.get("status", {}).get("containerStatuses", ()) if one["name"] == "main"]
    words = [word for one in pod["spec"]["containers"] if one["name"] == "main" for word in one.get("command", ())]
    return bool(main) and "running" in main[0].get("state", {}) and "--executor_input" in words


CASES: dict[str, Case] = {
    "the installation fits": fits,
    "study": study,
    "privacy_audit": privacy_audit,
    "privacy_audit, again": privacy_audit_again,
    "re_audit, and nothing new": re_audit,
    "train_generator": train_generator,
    "dp_check": dp_check,
    "wrong quantity": wrong_quantity,
    "unknown service account": unknown_account,
    "out of memory": out_of_memory,
    "a target that is out of memory": target_out_of_memory,
    "a pod that no node takes": unschedulable,
    "a target that is missing": missing_target,
    "a target that is damaged": damaged_target,
    "too many targets": too_many_targets,
    "a pod that is lost": lost_pod,
    "a run that is taken up again": interrupted_watch,
    "a schedule's life": schedule,
}
