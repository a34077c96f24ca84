"""First names and surnames of the made-up users."""

from functools import cache

from faker import Faker

NAMES = 10_000


@cache
def names(seed: int) -> tuple[str, ...]:
    """10,000 made-up names, as many as the reference generator has (google/sycophancy-intervention fb75986)."""
    faker = Faker("en_US")
    faker.seed_instance(seed)
    return tuple(f"{faker.first_name()} {faker.last_name()}" for _ in range(NAMES))
