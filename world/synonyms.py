"""Other words for objects: some that version 2's captions use, some that they never use."""

from __future__ import annotations


def _table(text: str) -> dict[str, str]:
    entries = (line.partition(":") for line in text.strip().splitlines())
    return {name.strip(): words.strip() for name, _, words in entries}


# Canonical captions and answers use the table's own names; other phrasings also these.
SYNONYMS: dict[str, tuple[str, ...]] = {
    name: tuple(word.strip() for word in words.split(","))
    for name, words in _table(
        """
        rabbit: bunny
        pig: hog
        rooster: cockerel
        crocodile: alligator
        turtle: tortoise
        frog: toad
        dinosaur: tyrannosaurus
        ladybug: ladybird
        chick: baby chick
        eggplant: aubergine
        burger: hamburger
        donut: doughnut
        cookie: biscuit
        cake: birthday cake
        car: automobile
        bus: coach
        truck: lorry
        bicycle: bike
        motorcycle: motorbike
        airplane: plane
        rocket: spaceship
        ufo: flying saucer
        ship: steamship
        football: soccer ball
        moon: crescent
        flame: fire
        umbrella: parasol
        gift: present
        hat: top hat
        shoe: sneaker
        phone: cellphone
        clock: alarm clock
        pencil: drawing pencil
        taxi: cab
        scooter: kick scooter
        racecar: racing car
        tram: streetcar
        envelope: letter
        donkey: mule
        """
    ).items()
}

# No caption has these: a model can know them from texts alone (`held_out_caption`).
HELD_OUT_SYNONYMS: dict[str, str] = _table(
    """
    cat: kitty
    dog: hound
    horse: stallion
    sheep: ewe
    mouse: rodent
    snake: serpent
    tree: oak
    house: cottage
    castle: fortress
    ship: vessel
    airplane: aircraft
    car: vehicle
    axe: hatchet
    crown: diadem
    ghost: phantom
    robot: android
    key: passkey
    shirt: tee
    book: tome
    bell: chime
    duck: mallard
    pizza: margherita
    """
)
