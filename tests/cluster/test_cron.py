"""Cron expressions mean here what they mean to the controller, and shifting zones keeps every moment."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from flprivacy.cluster.cron import Cron, in_cluster_zone, read_cron, read_zone
from flprivacy.core.errors import ConfigError

FRIDAY = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ZONE = ZoneInfo("UTC")


def _next(text: str, count: int, zone: ZoneInfo = ZONE, moment: datetime = FRIDAY) -> list[str]:
    cron, found = read_cron(text), []
    for _ in range(count):
        following = cron.next_after(moment, zone)
        assert following is not None
        moment = following
        found.append(following.strftime("%m-%d %H:%M:%S"))
    return found


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("0 0 2 * * *", ["01-03 02:00:00", "01-04 02:00:00"]),
        ("0 2 * * *", ["01-03 02:00:00", "01-04 02:00:00"]),
        ("@daily", ["01-03 00:00:00", "01-04 00:00:00"]),
        ("0 0 2 * * MON-wed/2", ["01-05 02:00:00", "01-07 02:00:00"]),
        ("5 4 3 * * *", ["01-03 03:04:05"]),  # strictly after this very moment
        ("*/20 4 3 2 1 ?", ["01-02 03:04:20", "01-02 03:04:40"]),
        ("0 50/5 3 * * *", ["01-02 03:50:00", "01-02 03:55:00"]),
        ("0 0 0 13 * 5", ["01-09 00:00:00", "01-13 00:00:00", "01-16 00:00:00"]),  # either, where neither is a star
        ("0 0 0 */10 * 0", ["01-11 00:00:00", "02-01 00:00:00"]),  # both, where one is a star, even with a step
        ("0 0 0 29 feb *", ["02-29 00:00:00"]),
    ],
)
def test_next_times(text: str, times: list[str]) -> None:
    assert _next(text, len(times)) == times


def test_a_time_that_the_clock_skips_is_skipped() -> None:
    before = datetime(2026, 3, 27, 12, tzinfo=UTC)
    found = _next("0 30 2 * * *", 2, ZoneInfo("Europe/Berlin"), before)
    assert found == ["03-28 02:30:00", "03-30 02:30:00"]


def test_a_day_that_never_comes_is_told() -> None:
    assert read_cron("0 0 0 31 feb *").next_after(FRIDAY, ZONE) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0 2 * *  * *", "has 7 fields"),
        ("2", "has 1 fields"),
        ("0 60 2 * * *", "minute '60' is wrong"),
        ("0 0 2 * * 7", "day of week '7' is wrong"),
        ("0 0 2 * * MOM", "names such as sun"),
        ("0 0 5-2 * * *", "hour '5-2' is wrong"),
        ("0 0/0 2 * * *", "a step must be 1 or more"),
        ("0 , 2 * * *", "minute ',' is empty"),
        ("0 -1 2 * * *", "minute '-1' is wrong"),
        ("CRON_TZ=UTC 0 0 2 * *", "second 'CRON_TZ=UTC' is wrong"),
        ("@every 1h", "no such nickname"),
    ],
)
def test_a_wrong_field_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match="--cron") as caught:
        read_cron(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("0 30 2 * * *", "Asia/Tokyo"),
        ("0 30 2 * * 1,3", "Asia/Tokyo"),
        ("15 0 8,23 * * *", "Asia/Tokyo"),  # one of them on the day before
        ("0 0 12 1 * *", "Asia/Tokyo"),
        ("0 15 1 * * *", "Asia/Kolkata"),
        ("0 0 22 * * 6", "America/Bogota"),
        ("0 */15 2 * * MON", "Asia/Tokyo"),
        ("0 10 * * * *", "Europe/Berlin"),  # whole hours apart in summer and winter alike
    ],
)
def test_a_shifted_expression_fires_at_the_same_moments(text: str, zone: str) -> None:
    given = read_cron(text)
    shifted = in_cluster_zone(given, ZoneInfo(zone), ZONE, FRIDAY)
    moment = FRIDAY
    for _ in range(10):
        there, here = given.next_after(moment, ZoneInfo(zone)), shifted.next_after(moment, ZONE)
        assert there is not None
        assert here == there
        moment = there


@pytest.mark.parametrize(
    ("text", "zone", "message"),
    [
        ("0 0 2 * * *", "Europe/Berlin", "its offset from UTC, which schedules follow, varies"),
        ("0 0 2 1 * *", "Asia/Tokyo", "cannot be written in UTC"),
        ("0 0,20 1 * * *", "Asia/Kolkata", None),
        ("0 0,40 1 * * *", "Asia/Kolkata", "cannot be written in UTC"),
        ("0 0 8,23 * * 1", "Asia/Tokyo", "cannot be written in UTC"),
    ],
)
def test_what_cannot_be_shifted_is_refused_with_a_remedy(text: str, zone: str, message: str | None) -> None:
    if message is None:
        assert isinstance(in_cluster_zone(read_cron(text), ZoneInfo(zone), ZONE, FRIDAY), Cron)
        return
    with pytest.raises(ConfigError, match="set cronScheduleTimezone") as caught:
        in_cluster_zone(read_cron(text), ZoneInfo(zone), ZONE, FRIDAY)
    assert message in str(caught.value)


def test_what_need_not_change_is_kept_as_it_was_written() -> None:
    def written(text: str, zone: str) -> str:
        return in_cluster_zone(read_cron(text), ZoneInfo(zone), ZONE, FRIDAY).text

    assert written("0 */15 2 * * *", "Asia/Tokyo") == "0 */15 17 * * *"
    assert written("0 5 2 1 JAN ?", "Etc/UTC") == "0 5 2 1 JAN ?"


def test_an_unknown_zone_is_named() -> None:
    with pytest.raises(ConfigError, match="--timezone 'Mars/Olympus': no such time zone"):
        read_zone("Mars/Olympus", "--timezone")
    with pytest.raises(ConfigError, match="no such time zone"):
        read_zone("../../etc/passwd", "--timezone")
