"""The words of the made-up population: what feeds each need, what the steps of the order are called, and so on."""

from collections.abc import Sequence
from functools import lru_cache

NEEDS: dict[str, Sequence[str]] = {
    "coffee": ("ground coffee", "espresso beans", "instant coffee", "coffee pods", "cold brew", "decaf coffee"),
    "tea": ("black tea", "green tea bags", "herbal infusion", "chai mix", "loose leaf oolong"),
    "bread": ("sliced white loaf", "sourdough", "baguette", "wholemeal rolls", "rye bread", "bagels", "pitta"),
    "milk": ("whole milk", "skimmed milk", "oat drink", "soya milk", "almond milk", "lactose-free milk"),
    "cheese": ("cheddar", "mozzarella", "gouda slices", "cream cheese", "parmesan", "brie", "feta", "goat cheese"),
    "yogurt": ("greek yogurt", "fruit yogurt", "skyr", "kefir", "coconut yogurt"),
    "eggs": ("free-range eggs", "organic eggs", "quail eggs", "liquid egg white", "barn eggs"),
    "butter": ("salted butter", "margarine", "spreadable butter", "vegan spread", "ghee"),
    "poultry": ("chicken breast", "whole chicken", "turkey mince", "chicken thighs", "duck legs", "chicken wings"),
    "beef": ("minced beef", "sirloin steak", "beef burgers", "stewing beef", "roast beef joint"),
    "fish": ("salmon fillet", "canned tuna", "cod loins", "smoked mackerel", "fish fingers", "prawns", "sardines"),
    "pasta": ("spaghetti", "penne", "fresh tagliatelle", "lasagne sheets", "macaroni", "gnocchi", "fusilli"),
    "rice": ("basmati rice", "jasmine rice", "risotto rice", "brown rice", "microwave rice"),
    "cereal": ("cornflakes", "porridge oats", "muesli", "granola", "bran flakes", "puffed rice"),
    "fruit": (
        "bananas",
        "apples",
        "oranges",
        "grapes",
        "strawberries",
        "pears",
        "blueberries",
        "mango",
        "kiwis",
        "plums",
    ),
    "greens": ("spinach", "lettuce", "kale", "rocket", "cabbage", "broccoli", "salad mix"),
    "roots": ("potatoes", "carrots", "beetroot", "sweet potatoes", "parsnips", "turnips"),
    "snacks": ("potato crisps", "salted peanuts", "popcorn", "tortilla chips", "pretzels", "rice crackers"),
    "chocolate": ("milk chocolate bar", "dark chocolate", "pralines", "chocolate buttons", "hot chocolate powder"),
    "biscuits": ("digestives", "shortbread", "ginger nuts", "oat cookies", "wafers", "cream sandwich biscuits"),
    "ice cream": ("vanilla ice cream", "fruit sorbet", "ice lollies", "frozen yogurt", "choc ices"),
    "soft drinks": ("cola", "lemonade", "orange soda", "tonic water", "energy drink", "ginger ale", "iced tea bottle"),
    "water": ("still water", "sparkling water", "flavoured water", "mineral water crate", "water cooler refill"),
    "juice": ("orange juice", "apple juice", "tomato juice", "smoothie", "multivitamin juice"),
    "beer": ("lager", "pale ale", "stout", "wheat beer", "alcohol-free beer", "cider"),
    "wine": ("red wine", "white wine", "rosé", "prosecco", "port"),
    "laundry": ("washing powder", "liquid detergent", "laundry capsules", "fabric softener", "stain remover"),
    "dishes": ("dishwasher tablets", "washing-up liquid", "rinse aid", "dishwasher salt", "scouring pads"),
    "cleaning": ("floor cleaner", "bathroom spray", "bleach", "glass cleaner", "limescale remover", "surface wipes"),
    "paper": ("toilet roll", "kitchen roll", "facial tissues", "paper napkins", "moist toilet tissue"),
    "hair": ("shampoo", "conditioner", "hair mask", "styling gel", "hair colour", "dry shampoo"),
    "teeth": ("toothpaste", "toothbrush", "mouthwash", "dental floss", "interdental brushes"),
    "skin": ("hand cream", "face moisturiser", "body lotion", "sun cream", "lip balm", "night cream"),
    "shaving": ("razor blades", "shaving foam", "aftershave", "disposable razors", "shaving gel"),
    "baby": ("nappies", "baby wipes", "infant formula", "baby puree", "baby lotion", "teething rusks"),
    "cat": ("cat litter", "wet cat food", "dry cat food", "cat treats", "kitten milk"),
    "dog": ("dog kibble", "canned dog food", "dog chews", "puppy food", "dog biscuits"),
    "garden": ("potting soil", "plant feed", "lawn seed", "weed killer", "flower bulbs", "slug pellets"),
    "car": ("petrol", "car wash", "screen wash", "engine oil", "diesel", "parking ticket"),
    "medicine": ("painkillers", "cough syrup", "antihistamine", "plasters", "vitamin tablets", "throat lozenges"),
}
"""Needs and the categories that feed them; no category feeds two."""

STEPS: Sequence[tuple[str, str, str]] = (
    ("reads the credit guide", "opens the loan calculator", "applies for a loan"),
    ("adds a second address", "changes the delivery slot", "cancels the subscription"),
    ("compares phone plans", "checks the contract end date", "orders a new phone"),
)
"""For each chain, what A, B and C are called: B soon after A makes C likely, A after B does not."""

VISIT = "store visit"
MAILING = "mailing sent"
ANSWER = "mailing answered"


@lru_cache(maxsize=1)
def need_names() -> tuple[str, ...]:
    """The needs in the order in which arrays number them."""
    return tuple(NEEDS)
