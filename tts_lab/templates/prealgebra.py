"""Prealgebra: stocks, bills, journeys and wages."""

from __future__ import annotations

from tts_lab.graph import Builder, Quantity
from tts_lab.templates.common import NAMES, OPERATIONS, PLACES, THINGS, big, chain, small


def stock(b: Builder) -> Quantity:
    """Things come and go, one event after another."""
    name, things, place = b.pick(NAMES), b.pick(THINGS), b.pick(PLACES)
    now = big(b)
    b.say(b.pick((f"{name} has {now} {things}.", f"There are {now} {things} at the {place}.")))
    left = OPERATIONS[b.level]
    while left:
        kind = b.pick(("buy", "give", "crates", "friends", "double") if left > 1 else ("buy", "give"))
        if kind == "buy":
            n = big(b)
            b.say(b.pick((f"Then {n} more arrive.", f"Another {n} are bought.", f"{n} new ones are found.")))
            now = b.do("+", now, n, f"the number of {things}")
        elif kind == "give":
            n = big(b)
            b.say(
                b.pick((f"Then {n} are sold.", f"{n} of them get lost.", f"After that {n} are given away."))
            )
            now = b.do("-", now, n, "the number left")
        elif kind == "crates":
            k, n = small(b), b.number(11, 60)
            b.say(b.pick((f"Then {k} boxes of {n} arrive.", f"{k} boxes with {n} in each are added.")))
            now = b.do("+", now, b.do("*", n, k, "the number in boxes"), f"the number of {things}")
            left -= 1
        elif kind == "friends":
            k, n = small(b), b.number(11, 40)
            b.say(b.pick((f"Each of {k} friends takes {n}.", f"{k} people take {n} each.")))
            now = b.do("-", now, b.do("*", n, k, "the number taken"), "the number left")
            left -= 1
        else:
            k = b.number(2, 4)
            b.say(f"Later there are {k} times as many.")
            now = b.do("*", now, k, f"the number of {things}")
        left -= 1
    b.say(b.pick((f"How many {things} are there now?", f"How many {things} are there in the end?")))
    return now


def shopping(b: Builder) -> Quantity:
    """A bill of several items, with a voucher or the delivery at the end."""
    name = b.pick(NAMES)
    count = {1: 1, 2: 2, 3: 2, 4: 3, 5: 4}[b.level]
    costs = []
    for thing in b.sample(THINGS, count):
        k, price = small(b), b.number(11, 99)
        b.say(
            b.pick(
                (
                    f"{name} buys {k} {thing} at {price} dollars each.",
                    f"{k} {thing} cost {price} dollars each.",
                    f"{name} takes {k} {thing} for {price} dollars each.",
                )
            )
        )
        costs.append(b.do("*", price, k, f"the cost of the {thing}"))
    bill = b.total(costs, "the bill")
    if OPERATIONS[b.level] > 2 * count - 1:
        n = big(b)
        if b.rng.random() < 0.5 and bill.value > n.value + 10:
            b.say(b.pick((f"A voucher takes {n} dollars off.", f"The shop takes {n} dollars off the bill.")))
            bill = b.do("-", bill, n, "the new bill")
        else:
            b.say(b.pick((f"Delivery costs {n} dollars.", f"A bag for {n} dollars is added.")))
            bill = b.do("+", bill, n, "the new bill")
    b.say(b.pick(("What is the bill in dollars?", "How many dollars is that in all?")))
    return bill


def journey(b: Builder) -> Quantity:
    """Distances at several speeds, some of them back."""
    name = b.pick(NAMES)
    who = b.pick((name, "A train", "A bus", "A ship"))

    def leg(b: Builder, is_first: bool) -> tuple[Quantity, str]:
        speed, hours = b.number(11, 90 if b.level < 4 else 60), small(b)
        back = not is_first and b.rng.random() < 0.3
        if back:
            b.say(
                b.pick(
                    (
                        f"Then it is {hours} hours back at {speed}.",
                        f"It goes back for {hours} hours at {speed}.",
                    )
                )
            )
        elif is_first:
            b.say(
                b.pick(
                    (
                        f"{who} travels {hours} hours at {speed} kilometres an hour.",
                        f"{who} moves at {speed} kilometres an hour for {hours} hours.",
                    )
                )
            )
        else:
            b.say(
                b.pick(
                    (f"Then it is {hours} hours at {speed}.", f"After that it goes {hours} hours at {speed}.")
                )
            )
        return b.do("*", speed, hours, "the way back" if back else "the distance"), "-" if back else "+"

    def rest(b: Builder, total: Quantity) -> Quantity:
        n = big(b)
        b.say(b.pick((f"The last {n} kilometres are by boat.", f"Another {n} kilometres follow.")))
        return b.do("+", total, n, "the whole distance")

    far = chain(b, 1, leg, rest)
    b.say(
        b.pick(
            (
                "How far from the start does it end, in kilometres?",
                "How many kilometres from the start is the end?",
            )
        )
    )
    return far


def wages(b: Builder) -> Quantity:
    """Money earned by the hour, spent and saved."""
    name = b.pick(NAMES)
    left = OPERATIONS[b.level]
    hours, pay = small(b), b.number(11, 60)
    b.say(
        b.pick(
            (
                f"{name} works {hours} hours for {pay} dollars an hour.",
                f"{name} earns {pay} dollars an hour and works {hours} hours.",
            )
        )
    )
    money = b.do("*", pay, hours, "the pay")
    left -= 1
    while left:
        kind = b.pick(("spend", "gift", "weeks", "share") if left > 1 else ("spend", "gift"))
        if kind == "spend":
            n = big(b)
            b.say(
                b.pick(
                    (f"{name} spends {n} dollars.", f"Lunch costs {n} dollars.", f"A bill takes {n} dollars.")
                )
            )
            money = b.do("-", money, n, "the money left")
            left -= 1
        elif kind == "gift":
            n = big(b)
            b.say(b.pick((f"A friend adds {n} dollars.", f"A gift brings {n} dollars.")))
            money = b.do("+", money, n, "the money")
            left -= 1
        elif kind == "weeks":
            k, n = small(b), b.number(11, 60)
            b.say(
                b.pick(
                    (
                        f"For {k} weeks {name} saves {n} dollars a week.",
                        f"Then {n} dollars a week come in for {k} weeks.",
                    )
                )
            )
            money = b.do("+", money, b.do("*", n, k, "the saved money"), "the money")
            left -= 2
        else:
            k, n = small(b), b.number(11, 40)
            b.say(
                b.pick(
                    (
                        f"{name} pays {k} helpers {n} dollars each.",
                        f"Rent is {n} dollars a week for {k} weeks.",
                    )
                )
            )
            money = b.do("-", money, b.do("*", n, k, "the cost"), "the money left")
            left -= 2
    b.say(b.pick((f"How many dollars does {name} have now?", "How many dollars are left in the end?")))
    return money


TEMPLATES = (stock, shopping, journey, wages)
