"""The words that may follow a value: units, things that are counted, and words that change what it is."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SAME = """
inch inches in.
foot feet ft
yard yards yd yds
mile miles mi
mm millimeter millimeters millimetre millimetres
cm centimeter centimeters centimetre centimetres
dm decimeter decimeters decimetre decimetres
meter meters metre metres
km kilometer kilometers kilometre kilometres
second seconds sec secs
minute minutes min mins
hour hours hr hrs
day days
week weeks
month months
year years yr yrs
ms millisecond milliseconds
gram grams
kg kilogram kilograms kgs
mg milligram milligrams
pound pounds lb lbs
ounce ounces oz
ton tons tonne tonnes
liter liters litre litres
ml milliliter milliliters millilitre millilitres
gallon gallons gal
quart quarts qt
pint pints
cup cups
dollar dollars usd bucks
cent cents
euro euros
yuan
penny pennies pence
degree degrees deg
radian radians rad
celsius
fahrenheit
kelvin
acre acres
hectare hectares ha
newton newtons
joule joules
watt watts
kw kilowatt kilowatts
volt volts
hertz hz
pascal pascals
byte bytes
kb
mb
gb
person people persons
child children
man men
woman women
mouse mice
die dice
foot-pound foot-pounds
"""  # one unit a line: what it is called in comparisons, and its other spellings

UNITS = {name: line.split()[0] for line in _SAME.strip().splitlines() for name in line.split()} | {
    **{"mph": "mile hour", "kph": "km hour", "kmh": "km hour", "m/s": "meter second", "km/h": "km hour"},
}
"""The name of every known unit, by its spellings."""

LETTERS = {
    **{"m": "meter", "g": "gram", "h": "hour", "s": "second", "l": "liter", "n": "newton", "j": "joule"},
    **{"v": "volt", "w": "watt"},
}
"""Units of one letter; they count only where nothing else can be meant."""

GLUED = _words("cm mm km kg mg ml ft mph kph lb lbs oz yd yds hr hrs mins secs m/s km/h")
"""Units that may follow a number without a space and without \\text: nobody means a product by them."""

GENERIC = _words("unit units u")

SILENT = _words(
    """
    per of a an the each old total different distinct possible whole in all us u.s. long
    square sq squared cubic cu cubed
    """
)
"""Words that may stand between a value and its unit."""

CHANGING = _words(
    """
    dozens hundreds thousands millions billions trillions tens ones tenths hundredths thousandths halves
    thirds fourths quarters fifths sixths sevenths eighths ninths pairs scores grosses times plus minus less
    is this its was has as pass loss losses across yes us his hers theirs ours perhaps always towards
    upwards downwards forwards backwards clockwise others negatives positives multiples factors powers
    bases squares cubes roots logs radicals places digits gross score pair half quarter
    """
)
"""Words in -s that are no things counted, or change the value."""

COUNTED = _words(
    """
    way student apple ticket coin marble book box ball card team game page problem question point solution
    triangle side step word letter number egg car chair table house girl boy integer value tile block piece
    seat bag bottle candy cookie
    """
)
"""Things counted that may stand in the singular; any plural in -s counts as well."""
