"""The nouns, colours, sizes, counts and relations of sprite world.

`OBJECTS` is ordered: the first 120 are the commonest and visually most distinct ones and form the
version-1 vocabulary; later versions use all. The order is part of the atlas file format.
"""

from __future__ import annotations

from collections.abc import Sequence

# One entry per object, "name" or "name=icon-slug" where the icon sets use another name.
_TABLE = """
cat dog horse cow pig sheep=ewe rabbit mouse bear panda
tiger lion elephant giraffe zebra monkey fox frog turtle snake
crocodile fish=tropical-fish shark whale=spouting-whale octopus crab snail butterfly
bee=honeybee ladybug=lady-beetle spider duck owl penguin rooster parrot flamingo
dinosaur=t-rex chick=front-facing-baby-chick
apple=red-apple banana strawberry pineapple watermelon lemon pear cherry=cherries carrot tomato
eggplant mushroom broccoli pizza burger=hamburger donut=doughnut cookie cake=birthday-cake
pretzel avocado lollipop
tree=deciduous-tree palm=palm-tree cactus rose tulip sunflower leaf=maple-leaf
car=automobile bus truck=delivery-truck ambulance tractor bicycle motorcycle train=locomotive
airplane helicopter rocket sailboat ship ufo=flying-saucer
house castle tent football=soccer-ball basketball star moon=crescent-moon sun cloud rainbow
snowflake snowman flame=fire umbrella balloon gift=wrapped-gift key lock=locked bell
book=closed-book pencil hammer axe crown hat=top-hat shirt=t-shirt dress shoe=running-shoe
phone=mobile-phone
camera clock=alarm-clock guitar drum trumpet chair robot ghost skull heart=red-heart

pepper=hot-pepper goat deer wolf camel=two-hump-camel donkey moose bison boar ram
hippo=hippopotamus
rhino=rhinoceros kangaroo koala sloth otter beaver badger skunk hedgehog squirrel=chipmunk
raccoon leopard gorilla orangutan mammoth llama poodle hamster unicorn dragon
sauropod lizard scorpion ant beetle cockroach mosquito worm caterpillar=bug
dolphin seal squid jellyfish lobster shrimp oyster blowfish shell=spiral-shell coral
bird eagle swan peacock turkey goose dove chicken feather
peach mango kiwi=kiwi-fruit melon coconut blueberry=blueberries grape=grapes tangerine lime olive
potato onion garlic cucumber ginger=ginger-root pea=pea-pod peanut=peanuts chestnut
croissant baguette=baguette-bread bagel waffle pancake=pancakes taco burrito sandwich dumpling
sushi
cheese=cheese-wedge steak=cut-of-meat egg cupcake pie candy sundae=ice-cream
flower=hibiscus blossom=cherry-blossom hyacinth lotus clover=four-leaf-clover seedling
pine=evergreen-tree bouquet log=wood
taxi minibus firetruck=fire-engine jeep=sport-utility-vehicle scooter=kick-scooter
moped=motor-scooter racecar=racing-car pickup=pickup-truck
tram=tram-car monorail canoe speedboat ferry satellite parachute skateboard sled wheel
church hospital factory hut temple=classical-building stadium fountain statue=statue-of-liberty
tower=tokyo-tower
baseball volleyball frisbee=flying-disc boomerang kite yoyo=yo-yo dartboard=bullseye die=game-die
rainstorm=cloud-with-lightning-and-rain tornado volcano mountain=mount-fuji comet
planet=ringed-planet globe=globe-showing-europe-africa drop=droplet wave=water-wave
lightning=high-voltage
mailbox=postbox box=package envelope newspaper calendar map=world-map scroll ticket briefcase
backpack
suitcase=luggage basket bucket toilet bathtub bed couch=couch-and-lamp door window
lamp=diya-lamp bulb=light-bulb candle flashlight lantern=red-paper-lantern plug=electric-plug
battery magnet compass hourglass=hourglass-done
wrench screwdriver saw=carpentry-saw pickaxe=pick clamp ladder gear chain=chains hook shield
dagger bow=bow-and-arrow bomb trophy medal=sports-medal ring diamond=gem-stone coin necktie scarf
glove=gloves sock=socks jacket=coat boot=womans-boot heel=high-heeled-shoe sandal=thong-sandal
cap=billed-cap helmet=rescue-workers-helmet
television computer=desktop-computer laptop printer keyboard radio microphone headphone telephone
watch
violin piano=musical-keyboard saxophone flute accordion banjo maraca=maracas bone tooth brain
knife=kitchen-knife spoon fork=fork-and-knife cup=hot-beverage teapot bottle=baby-bottle jar
wineglass=wine-glass beer=beer-mug cocktail=cocktail-glass
broom soap sponge toothbrush razor mirror comb=hair-pick lipstick pill syringe
microscope telescope vial=test-tube thermometer stethoscope crutch wheelchair=manual-wheelchair
abacus puzzle=puzzle-piece
teddy=teddy-bear alien pumpkin=jack-o-lantern joystick crayon paintbrush palette=artist-palette
anchor trident=trident-emblem moai siren=police-car-light fan=folding-hand-fan
"""

OBJECTS: tuple[str, ...] = tuple(entry.partition("=")[0] for entry in _TABLE.split())
ICON_SLUGS: dict[str, str] = {
    name: slug or name for name, _, slug in (entry.partition("=") for entry in _TABLE.split())
}

_PLACES = {name: place for place, name in enumerate(OBJECTS)}

# Drawing styles; the last one is held out of training by default.
STYLES: tuple[str, ...] = ("noto", "twemoji", "fluent")

# Tints in RGB. An object is called by a colour only when it was recoloured with it.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (222, 32, 38),
    "orange": (250, 130, 10),
    "yellow": (250, 215, 20),
    "green": (40, 165, 55),
    "blue": (35, 85, 225),
    "purple": (130, 45, 180),
    "pink": (255, 120, 190),
    "white": (245, 245, 245),
    "black": (28, 28, 30),
}

SIZES: tuple[str, ...] = ("small", "big")
COUNT_WORDS: tuple[str, ...] = ("zero", "one", "two", "three", "four", "five", "six")
RELATIONS: tuple[str, ...] = ("left of", "right of", "above", "below")

# What fills the middle of its picture in every style: something to hide behind.
_SOLID = """
bear panda lion fox frog fish ladybug owl penguin chick apple strawberry lemon tomato burger
cookie avocado tree truck ambulance house football basketball cloud gift bell book hat shirt
phone camera clock drum ghost skull heart wolf boar koala hedgehog hamster oyster blowfish
shell peacock chicken peach mango kiwi melon coconut blueberry tangerine potato onion chestnut
bagel waffle pancake sandwich dumpling sushi cheese egg cupcake sundae flower blossom lotus log
tram hospital hut temple baseball volleyball dartboard die globe mailbox box envelope newspaper
calendar map scroll briefcase backpack suitcase bucket door window lantern compass shield
diamond coin necktie television laptop printer watch piano accordion brain cup teapot jar soap
sponge mirror alien pumpkin moai
"""
SOLID_OBJECTS: frozenset[str] = frozenset(_SOLID.split())

# So many objects at the head of the table are seen more often than the others in version 2.
POPULAR = 40
# Objects are told to be akin by their places in the table, which is sorted by sort of thing.
_KIN_REACH = 10

_IRREGULAR_PLURALS = {
    "bison": "bison",
    "die": "dice",
    "fish": "fish",
    "goose": "geese",
    "jellyfish": "jellyfish",
    "blowfish": "blowfish",
    "knife": "knives",
    "leaf": "leaves",
    "moose": "moose",
    "mouse": "mice",
    "scarf": "scarves",
    "sheep": "sheep",
    "shrimp": "shrimp",
    "squid": "squid",
    "tooth": "teeth",
    "wolf": "wolves",
    "deer": "deer",
}
_OES = {"mango", "mosquito", "potato", "tomato", "tornado", "volcano"}


def plural(name: str) -> str:
    """Return the plural of an object's name ("mouse" gives "mice")."""
    if name in _IRREGULAR_PLURALS:
        return _IRREGULAR_PLURALS[name]
    if name in _OES or name.endswith(("s", "x", "z", "ch", "sh")):
        return name + "es"
    if name.endswith("y") and name[-2] not in "aeiou":
        return name[:-1] + "ies"
    return name + "s"


def kin(name: str, objects: Sequence[str]) -> list[str]:
    """Return the objects that are most like one: at most ten places from it in the table."""
    place = _PLACES[name]
    return [o for o in objects if o != name and abs(_PLACES[o] - place) <= _KIN_REACH]


def with_article(noun_phrase: str) -> str:
    """Prefix "a" or "an" by the sound that the phrase begins with."""
    if noun_phrase.startswith(("uni", "ufo")):
        return f"a {noun_phrase}"
    return f"{'an' if noun_phrase[0] in 'aeiou' else 'a'} {noun_phrase}"
