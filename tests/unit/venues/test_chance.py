"""Where simulated numbers come from."""

from chalicelib.venues.simulated.chance import Chance


def test_with_a_seed_a_purpose_always_gets_the_same_number():
    assert Chance("s").uniform(0, 1, "price", "SOL") == Chance("s").uniform(0, 1, "price", "SOL")


def test_another_purpose_or_seed_gets_another_number():
    numbers = {
        Chance(seed).uniform(0, 1, *purpose)
        for seed, purpose in (("s", ("a", "b")), ("s", ("a", "c")), ("s", ("ab",)), ("t", ("a", "b")))
    }

    assert len(numbers) == 4


def test_without_a_seed_numbers_differ():
    assert len({Chance().uniform(0, 1, "price") for _ in range(10)}) == 10


def test_what_happens_never_or_always_is_not_left_to_chance():
    assert not any(Chance().happens(0.0, "fault") for _ in range(100))
    assert all(Chance().happens(1.0, "fault") for _ in range(100))


def test_a_share_is_about_how_often_it_happens():
    happened = sum(Chance("s").happens(0.3, "fault", number) for number in range(1000))

    assert 250 < happened < 350
