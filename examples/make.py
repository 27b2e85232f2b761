"""Makes the rows of the three example tasks: tickets (classes), invoices (fields), dishes (sentences).

All sentences were written for this project. What is asked of a test row was never seen in training: other complaints, other
layouts of a letter, other dishes. Run it in this folder; the same rows come out every time.
"""

import json
import random

OPENERS = ["Hello,", "Hi there,", "Dear team,", "Good morning.", "To whom it may concern:", "", "", "Hey,"]
CLOSERS = ["Thanks.", "Please let me know.", "Best regards, Kim", "", "", "I look forward to hearing from you.",
           "Ben from Leeds", "Sent from my phone"]

# For each class: what is learned from, what is asked.
TICKETS = {
    "delivery": (
        ["my parcel was due on Monday and has not come.", "the tracking page has said 'in transit' for nine days.",
         "the courier left the box with a neighbour I do not know.", "you sent my order to my old address.",
         "only two of the three boxes arrived.", "can the package be dropped at a pick-up point instead?",
         "nobody rang the bell, yet the driver reports a failed attempt.", "the van came at six in the morning and left again.",
         "how long does shipping to Norway take?", "my order was split and the second half is missing.",
         "the depot cannot find my shipment.", "I will be away; could the parcel come a week later?",
         "the box was left in the rain by the gate.", "the label shows a street that does not exist.",
         "is express shipping still possible for my order?"],
        ["it is two weeks now and nothing has reached my door.", "the postman handed my box to the wrong flat.",
         "your carrier lost what I ordered.", "please hold the shipment until I am back from holiday.",
         "when will the rest of my order get here?", "the status has not changed since it left your warehouse.",
         "the driver could not find our entrance.", "do you ship to the Canary Islands?",
         "half of what I ordered is still on its way, it seems.", "my package went to another town."]),
    "payment": (
        ["I was charged twice for one order.", "the refund you promised is not on my account.",
         "my card is declined though it works elsewhere.", "the invoice shows the wrong VAT number.",
         "can I pay by bank transfer?", "the discount code was not taken off the total.",
         "I need a receipt for my tax return.", "you billed the company and not me.",
         "the amount on my statement is higher than in the shop.", "I cancelled, but the money was still taken.",
         "does the gift card cover shipping costs?", "please change the billing address on the bill.",
         "my instalments do not add up.", "PayPal says the transaction is pending for days.",
         "I would like the invoice as a PDF."],
        ["there are two debits for the same purchase.", "when do I get my money back?",
         "the voucher took nothing off the price.", "my bank refuses the direct debit you set up.",
         "the bill carries the name of somebody else.", "is it possible to pay on account?",
         "I paid forty euros and the invoice says fifty.", "the checkout rejects my credit card.",
         "you owe me eleven pounds for the returned lamp.", "please send me a proof of payment."]),
    "defect": (
        ["the kettle stopped heating after three days.", "the screen has a crack along the left edge.",
         "one leg of the table is shorter than the others.", "the zip broke the first time I used it.",
         "the battery lasts ten minutes, not ten hours.", "the lamp flickers whenever it gets warm.",
         "the left earphone makes no sound.", "the paint comes off in flakes.",
         "the drill smells of burning and switches itself off.", "two screws were missing from the bag.",
         "the chair wobbles and creaks.", "the display stays black after the update.",
         "the jumper fell apart in the first wash.", "the lid does not close any more.",
         "the pump leaks oil all over the floor."],
        ["the toaster gives off smoke.", "there is a hole in the sole of the left shoe.",
         "the remote control does nothing, with new batteries too.", "the glass was in pieces when I opened the box.",
         "my vacuum cleaner has lost all its suction.", "the handle came off in my hand.",
         "the watch loses an hour every day.", "the keyboard types every letter twice.",
         "the seams are already open after a week.", "the heater turns itself off and on at random."]),
    "praise": (
        ["your support answered within minutes, wonderful!", "the blanket is even softer than I hoped.",
         "this is the third pan from you and I love them all.", "what a lovely handwritten note in the box!",
         "my daughter has not put the puzzle down since.", "best coffee grinder I ever owned.",
         "the lady on the phone was so kind and patient.", "everything came early and perfectly packed.",
         "I recommend you to all my friends.", "the colours are exactly as in the pictures, great!",
         "thank you for going out of your way to help.", "I am delighted with the bicycle.",
         "five stars, nothing to complain about.", "such quality is rare these days.",
         "the assembly took ten minutes, brilliant instructions."],
        ["I just wanted to say how happy I am with the desk.", "your team deserves a medal.",
         "what a joy to use, I smile every morning.", "never had such friendly service before.",
         "the quality of the knife is outstanding.", "my grandmother adores the armchair.",
         "you made my birthday, thank you so much!", "perfect fit and beautiful workmanship.",
         "keep up the good work!", "I shall certainly buy from you again."]),
}


def tickets(random):
    rows = []
    for label, parts in TICKETS.items():
        for split, cores, count in (("train", parts[0], 45), ("test", parts[1], 40)):
            for n in range(count):
                core = cores[n % len(cores)]
                words = [random.choice(OPENERS), core, random.choice(CLOSERS)]
                text = " ".join(word for word in words if word)
                rows.append({"text": text[0].upper() + text[1:], "label": label, "split": split})
    return rows


SUPPLIERS = (
    ["Harbour Tools Ltd", "Nordlicht GmbH", "Green & Sons", "Papeterie Duval", "Blue Kettle Co", "Mills Timber",
     "Atlas Cables", "Corner Bakery", "Fenwick Glass", "Okada Instruments"],
    ["Silver Birch Farm", "Tanner Brothers", "Lumen Electric", "Casa Verde", "Hillside Dairy", "Quill & Ink"],
)
ITEMS = ["printer paper", "a desk lamp", "oak boards", "window panes", "network cable", "bread rolls", "two ladders",
         "ink cartridges", "paint", "a pallet of bricks"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December"]
LAYOUTS = (
    ["Invoice {number} from {supplier}, {day} {month} {year}. For {item} we charge {total} euros.",
     "{supplier}\nInvoice no. {number}\nDate: {day} {month} {year}\n{item}\nTotal: {total} EUR",
     "Dear customer,\nplease find our bill {number} for {item}. The sum of {total} euros is due.\n{supplier}, {month} {day}, {year}",
     "Bill {number} / {supplier} / {day} {month} {year}\nGoods: {item}. Amount payable: {total} euros.",
     "On {day} {month} {year} {supplier} delivered {item}. The invoice, {number}, comes to {total} euros."],
    ["{supplier} herewith invoices {item}.\nNumber {number}, {month} {day}, {year}.\nTo pay: {total} EUR",
     "Re: {number}\nWe thank you for your order of {item} and ask for {total} euros.\nYours, {supplier}\n{day} {month} {year}",
     "{day} {month} {year}\n\n{item}: {total} euros\n\nInvoice {number}\n{supplier}"],
)


def invoices(random):
    rows = []
    for at, (split, count) in enumerate((("train", 160), ("test", 60))):
        for _ in range(count):
            month = random.randrange(12)
            day, year = random.randint(1, 28), random.randint(2021, 2026)
            total = f"{random.randint(5, 900)}.{random.randint(0, 99):02}"
            number = random.choice(["A-", "R", "2026/", "INV-", ""]) + str(random.randint(100, 99999))
            supplier = random.choice(SUPPLIERS[at])
            text = random.choice(LAYOUTS[at]).format(number=number, supplier=supplier, day=day, month=MONTHS[month],
                                                     year=year, total=total, item=random.choice(ITEMS))
            fields = {"supplier": supplier, "number": number, "date": f"{year}-{month + 1:02}-{day:02}", "total": total}
            rows.append({"text": text, "output": fields, "split": split})
    return rows


DISHES = (
    ["lentil soup", "mushroom risotto", "apple cake", "fish stew", "bean salad", "lemon tart", "potato gratin",
     "chicken curry", "tomato pasta", "plum dumplings", "pea soup", "carrot salad"],
    ["pumpkin soup", "beef goulash", "pear crumble", "noodle salad", "spinach pie", "rice pudding"],
)
STYLES = ["Indian", "Italian", "Austrian", "Greek", "home-style", "French"]
TIMES = [15, 20, 30, 45, 60, 90]


def dish(random, name):
    row = {"dish": name, "style": random.choice(STYLES), "time": random.choice(TIMES), "price": random.randint(4, 18),
           "for": random.choice(["vegans", "vegetarians", "everybody"])}
    an = "An" if row["style"][0] in "AEIOU" else "A"
    eaters = {"vegans": "suits vegans", "vegetarians": "suits vegetarians", "everybody": "pleases everybody"}[row["for"]]
    said = [
        f"{an} {row['style']} {name} that {eaters}, ready in {row['time']} minutes for {row['price']} euros.",
        f"Our {row['style']} {name} costs {row['price']} euros, takes {row['time']} minutes and {eaters}.",
        f"For {row['price']} euros you get {an.lower()} {row['style']} {name}; it {eaters} and is on the table in {row['time']} minutes.",
    ]
    source = "; ".join(f"{field}: {row[field]}" for field in ("dish", "style", "time", "price", "for"))
    return source, said


def dishes(random):
    rows = []
    for at, (split, count) in enumerate((("train", 180), ("test", 60))):
        for _ in range(count):
            source, said = dish(random, random.choice(DISHES[at]))
            # One sentence is learned; of the test rows each of the three is right.
            rows.append({"input": source, "output": random.choice(said) if split == "train" else said, "split": split})
    return rows


for name, make in (("tickets", tickets), ("invoices", invoices), ("dishes", dishes)):
    seeded = random.Random(name)
    rows = make(seeded)
    seeded.shuffle(rows)
    with open(f"{name}/{name}.jsonl", "w", encoding="utf-8") as file:
        for at, row in enumerate(rows, 1):
            file.write(json.dumps({"id": f"{name}-{at}", **row}, ensure_ascii=False) + "\n")
