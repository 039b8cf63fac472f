"""Cron expressions as Kubeflow Pipelines reads them: six fields, seconds first, in one time zone for all schedules.

The backend parses with robfig/cron 1.2, whose rules these are: numbers, names, ``*``, ``?``, ranges, lists and steps;
if day of month or day of week is a star, both must match, otherwise either. A single schedule has no time zone: the
controller's setting ``cronScheduleTimezone`` (UTC by default) holds for all of them. A time that the clock skips in
spring is skipped by the schedule, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flprivacy.core.errors import ConfigError

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: i for i, name in enumerate(_MONTH_NAMES, start=1)}
_DAYS = {name: i for i, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("second", 0, 59, {}),
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_NICKNAMES = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_MOST_DAYS = 5 * 366
_YEARS_AHEAD = 3


@dataclass(frozen=True)
class Cron:
    """A checked cron expression."""

    text: str  # its six fields, as the API takes them
    sets: tuple[frozenset[int], ...]  # the numbers of each field
    stars: tuple[bool, ...]  # which fields are stars

    def next_after(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        """Return when it next fires after ``moment``, in ``zone``; None if not within five years."""
        first = moment.astimezone(zone).date()
        for day in (first + timedelta(days=n) for n in range(_MOST_DAYS)):
            if self._fires_on(day):
                for fires in self._times(day, zone):
                    if fires > moment:
                        return fires
        return None

    def _fires_on(self, day: date) -> bool:
        in_month, in_week = day.day in self.sets[3], day.isoweekday() % 7 in self.sets[5]
        either = in_month and in_week if self.stars[3] or self.stars[5] else in_month or in_week
        return day.month in self.sets[4] and either

    def _times(self, day: date, zone: ZoneInfo) -> Iterator[datetime]:
        for hour, minute, second in product(*map(sorted, self.sets[2::-1])):
            local = datetime.combine(day, time(hour, minute, second), tzinfo=zone)
            if local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
                yield local


def read_cron(text: str) -> Cron:
    """Return a cron expression given as six fields, as five (then at second 0), or as a nickname such as ``@daily``.

    ConfigError names the field that is wrong.
    """
    words = _NICKNAMES.get(text.strip().lower(), text).split()
    if text.strip().startswith("@") and len(words) < len(_FIELDS):
        raise ConfigError(
            f"--cron {text!r}: no such nickname; choose one of {', '.join(_NICKNAMES)} or write six fields"
        )
    if len(words) == len(_FIELDS) - 1:
        words = ["0", *words]
    if len(words) != len(_FIELDS):
        raise ConfigError(
            f"--cron {text!r}: has {len(words)} fields; write six (second minute hour day month weekday) or "
            "five without the seconds"
        )
    sets, stars = [], []
    for word, (name, low, high, names) in zip(words, _FIELDS):
        parts = [part for part in word.split(",") if part]
        try:
            numbers = [number for part in parts for number in _range(part, low, high, names)]
        except ValueError as error:
            rule = f"write {low} to {high}{' or names such as ' + next(iter(names)) if names else ''}"
            raise ConfigError(f"--cron {text!r}: {name} {word!r} is wrong ({error}); {rule}") from error
        if not numbers:
            raise ConfigError(f"--cron {text!r}: {name} {word!r} is empty; write {low} to {high}, or *")
        sets.append(frozenset(numbers))
        stars.append(any(part[0] in "*?" for part in parts))
    return Cron(" ".join(words), tuple(sets), tuple(stars))


def read_zone(name: str, option: str) -> ZoneInfo:
    """Return a time zone by its name; ConfigError if there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(f"{option} {name!r}: no such time zone; give a name such as Europe/Berlin or UTC") from error


def in_cluster_zone(cron: Cron, zone: ZoneInfo, cluster: ZoneInfo, now: datetime) -> Cron:
    """Return the expression that fires in the cluster's zone exactly when ``cron`` fires in ``zone``.

    ConfigError if there is none, because the zones' offset varies, or the fields cannot be shifted.
    """
    hours_ahead = range(0, _YEARS_AHEAD * 366 * 24, 6)
    shifts = {_shift_minutes(now + timedelta(hours=n), zone, cluster) for n in hours_ahead}
    if shifts == {0}:
        return cron
    if (
        len(cron.sets[2]) == 24
        and all(shift % 60 == 0 for shift in shifts)
        and cron.text.split()[3:] == ["*", "*", "*"]
    ):
        return cron  # every hour of every day is every hour everywhere
    remedy = (
        f"set cronScheduleTimezone: {zone.key} in Kubeflow Pipelines' ConfigMap pipeline-install-config and give "
        f"--cluster-timezone {zone.key}, or write --cron in {cluster.key}"
    )
    if len(shifts) > 1:
        raise ConfigError(
            f"--timezone {zone.key}: its offset from {cluster.key}, which schedules follow, varies; {remedy}"
        )
    shifted = _shifted(cron, shifts.pop())
    if shifted is None:
        raise ConfigError(f"--cron {cron.text!r}: cannot be written in {cluster.key}, which schedules follow; {remedy}")
    return shifted


def _shift_minutes(moment: datetime, zone: ZoneInfo, cluster: ZoneInfo) -> int:
    there, here = (moment.astimezone(one).replace(tzinfo=UTC) for one in (cluster, zone))
    return round((there - here).total_seconds() / 60)


def _shifted(cron: Cron, minutes: int) -> Cron | None:
    """Return the expression moved by so many minutes, if six fields can say that."""
    sets = cron.sets
    second, minute_text, hour_text, day, month, weekday = cron.text.split()
    moved = [divmod(60 * hour + minute + minutes, 24 * 60) for hour, minute in product(sets[2], sets[1])]
    carries = {carry for carry, _ in moved}
    at = {divmod(rest, 60) for _, rest in moved}
    hours, mins = {hour for hour, _ in at}, {minute for _, minute in at}
    if at != set(product(hours, mins)):
        return None
    if carries != {0}:
        stars = [field in ("*", "?") for field in (day, month, weekday)]
        if not all(stars[:2]) or (len(carries) > 1 and not stars[2]):
            return None
        if not stars[2]:
            weekday = _listed({(number + next(iter(carries))) % 7 for number in sets[5]})
    minute_text = minute_text if mins == sets[1] else _listed(mins)
    hour_text = hour_text if hours == sets[2] else _listed(hours)
    return read_cron(" ".join((second, minute_text, hour_text, day, month, weekday)))


def _listed(numbers: set[int]) -> str:
    return ",".join(map(str, sorted(numbers)))


def _range(part: str, low: int, high: int, names: dict[str, int]) -> range:
    bounds, slash, step_text = part.partition("/")
    step = int(step_text) if slash else 1
    if bounds in ("*", "?"):
        first, last = low, high
    else:
        start, dash, end = bounds.partition("-")
        first = _number(start, names)
        last = _number(end, names) if dash else high if slash else first
    if not low <= first <= last <= high or step < 1:
        raise ValueError("out of range" if step >= 1 else "a step must be 1 or more")
    return range(first, last + 1, step)


def _number(text: str, names: dict[str, int]) -> int:
    return names[text.lower()] if text.lower() in names else int(text)
