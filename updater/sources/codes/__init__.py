"""A made-up log of sparse shoppers whose texts are codes. No row of it is about a real person.

Half of the users who order do so on at most two days, products have codes where others have words, and numbers of
orders, prices and products have heavy tails. What predicts who comes again is how recently, how often and for how much
a user ordered: a model that reads texts has little to read here, and must not lose what a few numbers say.
"""

from updater.sources.codes.history import land, rows_of_day
from updater.sources.codes.shoppers import ordering_days
from updater.sources.codes.spec import MODALITIES, CodesSpec

__all__ = ["MODALITIES", "CodesSpec", "land", "ordering_days", "rows_of_day"]
