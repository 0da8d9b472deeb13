"""What the pocket model can draw: subjects, styles, background colours and tints, as data.

Names are what a person would type, one or two words.  The code point picks the same thing in
every art set; `art` fails if a set lacks one.  A colour word is given only where all art sets
agree on it, so that "a red apple" is a true caption for every sprite of an apple.
The order is part of the format: atlas, judge and evaluation prompts use the index.
"""

from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Subject:
    """One drawable thing: emoji code point (hex), singular, plural and own colour word."""

    codepoint: str
    name: str
    plural: str
    colour: str | None

    @property
    def countable(self) -> bool:
        """Whether "a fox" and "two foxes" are right: not for grapes, scissors or bread."""
        if self.name in MASS_NOUNS:
            return False
        return self.name in _SINGULAR_IN_S or self.name.endswith("ss") or self.name[-1] != "s"


@dataclass(frozen=True)
class Colour:
    """A background colour: its word and sRGB centre, 0..255."""

    name: str
    rgb: tuple[int, int, int]


# The first RAW_STYLE_COUNT styles train Raw; the last is kept wholly for the LoRA.
STYLES = ("flat", "3d", "shaded", "pixel", "line")
RAW_STYLE_COUNT = 4
LORA_STYLE = 4
PIXEL_STYLE = 3

# Fixed wordings; the first of each row is the one that evaluation uses.
STYLE_PHRASES: tuple[tuple[str, ...], ...] = (
    ("flat style", "flat illustration", "flat vector art"),
    ("3d render", "3d style", "glossy 3d render"),
    ("shaded illustration", "shaded drawing", "soft shaded style"),
    ("pixel art", "pixel art style", "8-bit pixel art"),
    ("black line drawing", "black line art", "black ink line drawing"),
)

BACKGROUNDS = (
    Colour("red", (214, 48, 49)),
    Colour("orange", (243, 146, 46)),
    Colour("yellow", (250, 219, 75)),
    Colour("green", (72, 168, 84)),
    Colour("teal", (32, 158, 162)),
    Colour("light blue", (148, 206, 242)),
    Colour("blue", (38, 92, 206)),
    Colour("purple", (126, 66, 176)),
    Colour("pink", (246, 164, 196)),
    Colour("brown", (126, 84, 54)),
    Colour("black", (20, 20, 24)),
    Colour("white", (250, 250, 250)),
)

# What the phrase is called after "a picture": "pixel art of a fox".
STYLE_NOUNS: tuple[tuple[str, ...], ...] = (
    ("flat illustration", "flat drawing"),
    ("3d render", "glossy 3d render"),
    ("shaded illustration", "shaded drawing"),
    ("pixel art", "pixel art picture"),
    ("black line drawing", "black ink line drawing"),
)

# Hues in turns; yellow and orange are left out because a dark sprite turned to them looks brown.
TINTS: tuple[tuple[str, float], ...] = (
    ("red", 0.0),
    ("green", 0.36),
    ("blue", 0.61),
    ("purple", 0.77),
)

RELATIONS = ("left of", "right of", "above", "below")

# Said without an article and never counted, besides those whose name is a plural already.
MASS_NOUNS = frozenset({"bread", "broccoli", "cheese", "corn", "fire", "popcorn", "sushi"})
_SINGULAR_IN_S = frozenset({"bus", "octopus", "cactus"})

_ANIMALS = """
1f412 monkey | 1f436 dog | 1f43a wolf | 1f98a fox/orange | 1f431 cat | 1f981 lion | 1f42f tiger
1f434 horse | 1f984 unicorn | 1f993 zebra | 1f98c deer | 1f42e cow | 1f437 pig/pink
1f411 sheep//sheep | 1f42a camel | 1f992 giraffe | 1f418 elephant/gray | 1f99b hippo
1f430 rabbit | 1f43f squirrel | 1f994 hedgehog | 1f987 bat | 1f43b bear/brown | 1f428 koala/gray
1f43c panda | 1f998 kangaroo | 1f413 rooster | 1f424 chick/yellow | 1f426 bird | 1f427 penguin
1f986 duck | 1f9a2 swan/white | 1f989 owl | 1f9a9 flamingo/pink | 1f99a peacock | 1f99c parrot
1f438 frog/green | 1f422 turtle/green | 1f40d snake/green | 1f409 dragon/green | 1f995 dinosaur
1f433 whale/blue | 1f42c dolphin | 1f41f fish//fish | 1f988 shark | 1f419 octopus//octopuses
1fabc jellyfish//jellyfish | 1f980 crab/red | 1f40c snail | 1f98b butterfly | 1f41c ant
1f41d bee | 1f41e ladybug | 1f577 spider | 1f490 bouquet | 1f339 rose/red | 1f33b sunflower/yellow
1f337 tulip/pink | 1fab4 potted plant | 1f333 tree/green | 1f334 palm tree/green
1f335 cactus/green/cacti | 1f341 maple leaf//maple leaves | 1f344 mushroom
"""

_FOOD = """
1f347 grapes/purple/grapes | 1f349 watermelon | 1f34a tangerine/orange | 1f34b lemon/yellow
1f34c banana/yellow | 1f34d pineapple | 1f34e apple/red | 1f350 pear/green
1f352 cherries/red/cherries | 1f353 strawberry/red | 1fad0 blueberries//blueberries
1f95d kiwi/green | 1f345 tomato/red/tomatoes | 1f951 avocado/green | 1f346 eggplant/purple
1f955 carrot/orange | 1f33d corn//ears of corn | 1f336 chili pepper/red
1f966 broccoli/green/broccoli | 1f9c5 onion | 1f35e bread//loaves of bread | 1f950 croissant
1f956 baguette | 1f968 pretzel | 1f95e pancakes//stacks of pancakes
1f9c0 cheese/yellow/wedges of cheese | 1f357 chicken leg | 1f354 hamburger
1f35f french fries//french fries | 1f355 pizza//slices of pizza | 1f32d hot dog | 1f96a sandwich
1f32e taco | 1f37f popcorn//buckets of popcorn | 1f35c noodle bowl | 1f363 sushi//pieces of sushi
1f366 ice cream//ice creams | 1f369 doughnut | 1f36a cookie | 1f382 birthday cake | 1f9c1 cupcake
1f36b chocolate bar | 1f36c candy//candies | 1f36d lollipop | 2615 coffee cup | 1fad6 teapot
1f377 wine glass | 1f378 cocktail | 1f37a beer mug | 1f964 soda cup
1f9cb bubble tea//bubble teas | 1f9ca ice cube | 1f944 spoon | 1f3fa vase
"""

_PLACES = """
1f30d globe | 1f9ed compass | 26f0 mountain | 1f30b volcano//volcanoes | 1f3e0 house
1f3f0 castle | 1f5fc tower | 26ea church | 26f2 fountain | 26fa tent | 1f3a1 ferris wheel
1f3aa circus tent | 1f682 steam train | 1f68c bus | 1f692 fire truck/red | 1f697 car | 1f69a truck
1f69c tractor | 1f3cd motorcycle | 1f6b2 bicycle | 1f6f9 skateboard | 1f6fc roller skate
26fd gas pump | 1f6a6 traffic light | 2693 anchor | 1f6df lifebuoy | 26f5 sailboat | 1f6a2 ship
2708 airplane | 1f681 helicopter | 1f680 rocket | 1f6f8 flying saucer | 1f9f3 suitcase
231b hourglass | 231a watch | 23f0 alarm clock | 1f321 thermometer | 2600 sun/yellow
1f319 crescent moon/yellow | 1fa90 planet | 2b50 star/yellow | 2601 cloud | 1f308 rainbow
2602 umbrella | 26a1 lightning bolt | 2744 snowflake/blue | 2603 snowman//snowmen
1f525 fire//fires | 1f4a7 water drop/blue | 1f30a wave/blue
"""

_PLAY = """
1f383 jack-o-lantern/orange | 1f384 christmas tree/green | 1f388 balloon/red | 1f380 ribbon bow
1f381 gift box | 1f3c6 trophy | 1f947 gold medal | 26bd soccer ball | 26be baseball
1f3c0 basketball/orange | 1f3d0 volleyball | 1f3c8 football/brown | 1f3be tennis racket
1f94a boxing glove/red | 26f3 golf flag | 1f3af target | 1fa81 kite | 1f3b1 eight ball/black
1f3ae game controller | 1f3b2 die//dice | 1f9e9 puzzle piece | 1f9f8 teddy bear | 265f chess pawn
1f3a8 paint palette | 1f9f6 ball of yarn//balls of yarn | 2764 heart/red | 1f480 skull
1f47b ghost/white | 1f47d alien | 1f916 robot | 1f921 clown | 1f600 smiley face/yellow
1f9e0 brain/pink | 1f9b4 bone | 1f444 lips//pairs of lips
"""

_OBJECTS = """
1f576 sunglasses//pairs of sunglasses | 1f455 t-shirt | 1f456 jeans/blue/pairs of jeans
1f9e3 scarf//scarves | 1f9e4 gloves//gloves | 1f9e6 socks//socks | 1f457 dress | 1f45c handbag
1f392 backpack | 1f45f sneaker | 1f460 high heel | 1f451 crown | 1f3a9 top hat
1f393 graduation cap | 1f9e2 baseball cap | 1f48d ring | 1f48e diamond/blue | 1f4e3 megaphone
1f514 bell/yellow | 1f3b5 music note | 1f3a4 microphone | 1f3a7 headphones//headphones
1f3b7 saxophone | 1f3ba trumpet | 1f3b8 guitar | 1f3b9 piano keys//piano keys | 1f3bb violin
1f941 drum | 1f4f1 phone | 1f4bb laptop | 1f3ac clapper board | 1f4fa television | 1f4f7 camera
1f50d magnifying glass | 1f56f candle | 1f4a1 light bulb | 1f526 flashlight
1f3ee paper lantern/red | 1f4d6 open book | 1f4da stack of books//stacks of books | 1fa99 coin
1f4b0 money bag | 2709 envelope | 1f4e6 cardboard box/brown | 1f4eb mailbox | 270f pencil
1f58c paintbrush | 1f4c5 calendar | 1f4cc pushpin/red | 2702 scissors//scissors | 1f5d1 trash can
1f512 padlock | 1f511 key | 1f528 hammer | 1fa93 axe | 2694 crossed swords//crossed swords
1f4a3 bomb/black | 1f3f9 bow and arrow//bows and arrows | 1f6e1 shield | 1f527 wrench
1fa9b screwdriver | 2699 gear | 1f9f2 magnet | 1f9ea test tube | 1f52c microscope
1f52d telescope | 1f48a pill | 1f6aa door | 1fa9f window | 1f6cf bed | 1f6cb couch | 1fa91 chair
1f6bd toilet/white | 1f6c1 bathtub | 1f9f9 broom | 1f9fa basket | 1faa5 toothbrush
1f9ef fire extinguisher/red | 1f6d2 shopping cart | 1f5ff stone head
"""


@cache
def subjects() -> tuple[Subject, ...]:
    """All subjects in index order."""
    rows = f"{_ANIMALS}{_FOOD}{_PLACES}{_PLAY}{_OBJECTS}".replace("\n", "|").split("|")
    return tuple(_parse(row.strip()) for row in rows if row.strip())


def _parse(row: str) -> Subject:
    codepoint, rest = row.split(" ", 1)
    name, colour, plural = [*rest.split("/"), "", ""][:3]
    return Subject(codepoint, name, plural or _plural(name), colour or None)


def _plural(name: str) -> str:
    if name.endswith(("s", "x", "ch", "sh")):
        return f"{name}es"
    if name.endswith("y") and name[-2] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}s"
