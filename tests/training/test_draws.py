from flprivacy.training.draws import (
    batch_generator,
    client_generator,
    layer_generator,
    partition_generator,
)


def test_every_place_has_a_stream_of_its_own() -> None:
    generators = [partition_generator(s) for s in range(3)]
    generators += [client_generator(s, r) for s in range(3) for r in range(3)]
    generators += [layer_generator(s, c, r) for s in range(3) for c in range(3) for r in range(3)]
    generators += [batch_generator(s, c, r, e) for s in range(3) for c in range(3) for r in range(3) for e in range(3)]
    assert len({int(g.integers(2**62)) for g in generators}) == len(generators) == 3 + 9 + 27 + 81


def test_a_stream_is_the_same_every_time() -> None:
    assert batch_generator(1, 2, 3, 4).integers(2**62) == batch_generator(1, 2, 3, 4).integers(2**62)
