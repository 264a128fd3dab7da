"""Words for made-up rows: a number below a vocabulary's size always gives the same text, small numbers are common."""

from functools import lru_cache

import pyarrow as pa

NUM_MERCHANTS = 2_000
NUM_PROGRAMS = 300
NUM_ACTIONS = 8
NUM_PAGES = 60
NUM_BLOCKS = 20
NUM_QUERIES = 20_000
NUM_APPS = 500


def _listed(text: str) -> list[str]:
    return [" ".join(word.split()) for word in text.split(",")]


_CATEGORIES = _listed("""
    groceries, coffee, takeaway, restaurant, bakery, fuel, parking, taxi, train tickets, flights, hotel, cinema,
    books, games, music, sports, gym, pharmacy, dentist, optician, hairdresser, cosmetics, clothing, shoes,
    jewellery, furniture, hardware, garden, electronics, phone bill, electricity, water, rent, insurance, school
    fees, toys, pets, flowers, laundry, charity
""")
_ADJECTIVES = _listed("""
    Amber, Autumn, Blue, Bright, Bronze, Calm, Cedar, Clear, Copper, Coral, Crystal, Dawn, Distant, Eastern,
    Emerald, Evening, Fair, First, Garden, Gentle, Golden, Grand, Green, Happy, Harbour, High, Ivory, Jade, Little,
    Lucky, Maple, Misty, Morning, New, Northern, Old, Olive, Pearl, Quiet, Red, River, Rose, Royal, Silver,
    Southern, Spring, Sunny, Velvet, Western, Winter
""")
_NOUNS = _listed("""
    Anchor, Arch, Basket, Bell, Bridge, Brook, Corner, Court, Crane, Door, Field, Fox, Gate, Grove, Hall, Harbour,
    Hill, House, Island, Key, Lake, Lantern, Leaf, Lion, Market, Mill, Moon, Orchard, Palace, Path, Pine, Plaza,
    Pond, Square, Star, Station, Stone, Tower, Valley, Well
""")
_KINDS = _listed("""
    shopping, travel, weather, news, food delivery, ride hailing, banking, investing, fitness, health, education,
    music, video, games, photos, maps, dating, jobs, housing, government services
""")
_ACTIONS = _listed("open, browse, search, add to cart, order, pay, share, review")
_PAGES = _listed("""
    home, wallet, transfer, credit, loans, funds, insurance, travel, food, rewards, profile, help
""")
_TABS = _listed("overview, offers, history, settings, details")
_BLOCKS = _listed("""
    banner, search bar, top icons, second icons, recent items, recommended for you, coupon strip, flash sale, live
    feed, message card, bill reminder, ranking list, member card, quiz, poll, footer, back to top, chat button,
    share panel, feedback form
""")
_MODIFIERS = _listed("""
    cheap, best, nearest, second hand, new, free, organic, family, student, luxury, online, local, late night,
    weekend, discount, premium, vegan, small, large, fast, quiet, popular, modern, classic, handmade
""")
_DETAILS = _listed("""
    near me, open now, price, reviews, coupon, delivery, opening hours, phone number, for two, for children, in the
    centre, by card, by instalments, gift card, comparison, refund, size guide, today, this week, subscription
""")
_AGE_BANDS = _listed("18 to 24, 25 to 34, 35 to 44, 45 to 54, 55 to 64, 65 and over")
_CITY_TIERS = _listed("metropolis, large city, town, village")
_OCCUPATIONS = _listed("""
    teacher, nurse, driver, cook, engineer, clerk, farmer, student, retired, shop owner, waiter, electrician,
    lawyer, doctor, designer, guard, cleaner, manager, builder, unemployed
""")


@lru_cache(maxsize=1)
def vocabulary() -> dict[str, pa.Array]:
    """Texts by column name, each a string array to `take` numbers from."""
    merchants = range(NUM_MERCHANTS)
    queries = range(NUM_QUERIES)
    return {
        "merchant": pa.array([f"{_ADJECTIVES[n % 50]} {_NOUNS[n // 50]}" for n in merchants]),
        "merchant_category": pa.array([_CATEGORIES[n % 40] for n in merchants]),
        "program": pa.array([f"{_NOUNS[n // 20]} {_KINDS[n % 20]}" for n in range(NUM_PROGRAMS)]),
        "action": pa.array(_ACTIONS),
        "page": pa.array([f"{_PAGES[n % 12]} {_TABS[n // 12]}" for n in range(NUM_PAGES)]),
        "block": pa.array(_BLOCKS),
        "query": pa.array([f"{_MODIFIERS[n // 800]} {_CATEGORIES[n % 40]} {_DETAILS[n // 40 % 20]}" for n in queries]),
        "topic": pa.array([_CATEGORIES[n % 40] for n in queries]),
        "app": pa.array([f"{_ADJECTIVES[n // 20]} {_KINDS[n % 20]}" for n in range(NUM_APPS)]),
        "kind": pa.array([_KINDS[n % 20] for n in range(NUM_APPS)]),
        "app_id": pa.array([f"app-{n:03d}" for n in range(NUM_APPS)]),
        "age_band": pa.array(_AGE_BANDS),
        "city_tier": pa.array(_CITY_TIERS),
        "occupation": pa.array(_OCCUPATIONS),
    }
