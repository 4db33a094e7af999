import json

import pytest

from proxy.policy import UsageBook

HOUR, DAY = 3600.0, 86400.0


def used_every(seconds, *, times=50, model="m", book=None):
    book = book or UsageBook()
    for i in range(times):
        book.arrived(model, 1000.0 + i * seconds)
    return book


def test_a_model_never_seen_has_the_pooled_hazard():
    book = used_every(5.0, times=200)
    assert book.hazard("other", 0.0) == pytest.approx(book.hazard("m", 0.0), rel=0.2)
    assert "other" not in book


def test_a_model_asked_for_every_minute_is_expected_within_the_minute():
    book = used_every(60.0)
    last = 1000.0 + 49 * 60.0
    assert book.probability("m", last, 90.0) > 0.7
    assert book.probability("m", last, 20.0) < 0.1


def test_the_hazards_of_all_known_models_are_those_of_each_one():
    book = used_every(500.0, model="n", book=used_every(60.0))
    each = [(model, book.hazard(model, book.idle_seconds(model, 9000.0))) for model in book.models]
    assert book.hazards_now(9000.0) == each
    assert len(each) == 2


def test_the_waiting_of_who_asks_for_a_model_counts_as_it_did_lately():
    book = UsageBook()
    assert book.client_weight("m") == 1.0
    book.seen("m", 0.0)
    assert book.client_weight("m") == 1.0
    book.arrived("m", 1.0, client_weight=3.0)
    assert book.client_weight("m") == 3.0


def test_a_state_of_before_there_were_weights_of_clients_is_read():
    book = used_every(60.0)
    state = book.to_state()
    del state["models"]["m"]["client_weight"]
    assert UsageBook.from_state(state).client_weight("m") == 1.0


def test_a_model_that_others_loaded_ages_from_when_it_was_seen():
    book = UsageBook()
    book.seen("foreign", 1000.0)
    book.seen("foreign", 2000.0)
    assert book.idle_seconds("foreign", 2500.0) == 1500.0
    assert book.rate_per_hour("foreign", 2500.0) == 0.0


def test_the_horizons_start_at_ten_minutes_and_follow_the_gaps_between_evictions_and_how_long_models_stay():
    book = UsageBook()
    assert book.horizon_seconds == book.return_horizon_seconds == 600.0
    book.evicted(1000.0, residents=3)
    assert book.horizon_seconds == book.return_horizon_seconds == 600.0
    book.evicted(3000.0, residents=6, victims=2)
    assert book.horizon_seconds == pytest.approx(0.9 * 600 + 0.1 * 6000)
    assert book.return_horizon_seconds == pytest.approx(0.9 * 600 + 0.1 * 2000)


def test_a_state_of_an_earlier_version_has_one_horizon():
    book = UsageBook()
    book.evicted(1000.0, residents=3)
    book.evicted(3000.0, residents=3)
    state = book.to_state()
    del state["stay_seconds"]
    assert UsageBook.from_state(state).horizon_seconds == book.return_horizon_seconds


def test_the_horizon_stays_between_a_minute_and_a_day():
    hectic, calm = UsageBook(), UsageBook()
    for i in range(100):
        hectic.evicted(float(i))
        calm.evicted(i * 30 * DAY)
    assert hectic.horizon_seconds == 60.0
    assert calm.horizon_seconds == DAY


def test_loads_and_services_are_learnt_for_known_models():
    book = used_every(60.0)
    book.loaded("m", 7.0, file_bytes=0, page_cache_warm=True)
    book.served("m", 2.0)
    assert book.load_seconds("m", file_bytes=0, page_cache_warm=True) == 7.0
    assert book.service_seconds("m", 99.0) == 2.0


def test_nothing_is_learnt_of_a_model_neither_asked_for_nor_seen():
    book = UsageBook()
    book.loaded("m", 7.0, file_bytes=0, page_cache_warm=True)
    book.served("m", 2.0)
    assert book.load_seconds("m", file_bytes=0, page_cache_warm=True) == 1.0
    assert book.service_seconds("m", 99.0) == 99.0
    assert book.last_used_at("m") == 0.0
    assert book.idle_seconds("m", 5.0) == 0.0
    assert book.rate_per_hour("m", 5.0) == 0.0


@pytest.mark.parametrize(
    "learn", [lambda b: b.loaded("m", -1.0, file_bytes=0, page_cache_warm=True), lambda b: b.served("m", -1.0)]
)
def test_negative_seconds_are_refused(learn):
    with pytest.raises(ValueError, match="seconds must be finite and >= 0"):
        learn(used_every(60.0))


def test_beyond_the_bound_the_longest_unused_model_is_forgotten():
    book = UsageBook(max_models=2)
    book.arrived("a", 1.0)
    book.arrived("b", 2.0)
    book.arrived("a", 3.0)
    book.arrived("c", 4.0)
    assert book.models == ("a", "c")
    book.seen("d", 5.0)
    assert book.models == ("c", "d")


def test_what_was_learnt_survives_json():
    book = used_every(60.0)
    used_every(500.0, times=9, model="n", book=book)
    book.loaded("m", 7.0, file_bytes=0, page_cache_warm=False)
    book.evicted(5.0)
    book.evicted(90.0)
    again = UsageBook.from_state(json.loads(json.dumps(book.to_state())))
    assert again.to_state() == book.to_state()
    assert again.probability("m", 9000.0, 5.0) == book.probability("m", 9000.0, 5.0)


def test_a_state_with_more_models_than_allowed_keeps_the_latest():
    book = UsageBook()
    for i, model in enumerate("abcd"):
        book.arrived(model, float(i))
    assert UsageBook.from_state(book.to_state(), max_models=2).models == ("c", "d")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ({"version": 7}, "version must be 1, got 7"),
        ({"pooled": None}, "pooled must be a mapping, got None"),
        ({"eviction_gap_seconds": "600"}, "eviction_gap_seconds must be a finite number >= 0, got '600'"),
        ({"models": {"m": {}}}, "first_arrival must be a finite number >= 0, got None"),
        ({"models": {"m": 3}}, "m must be a mapping, got 3"),
    ],
)
def test_a_state_that_is_none_is_refused_with_its_place(damage, complaint):
    with pytest.raises(ValueError, match=complaint):
        UsageBook.from_state({**used_every(60.0).to_state(), **damage})


def test_a_book_shows_what_it_holds():
    assert repr(used_every(60.0)) == "UsageBook(1 of 1000 models, horizon 600 s)"
