"""The words that a language model may write outside quotes: a closed list, and what each modality is called.

What the lake holds was written by anybody, and an endpoint may answer anything. A text of which every word is either on
this list or a quoted value of the log says nothing that somebody else put there, whatever the model was talked into.
Words that count, date or judge are not on it: nothing in the log would bear them out.
"""

from collections.abc import Iterable, Mapping

NO_LONGER = "no-longer"
"""Spelling of the two words `no longer`, which are one: `no` alone would turn a value into its opposite."""
OVER = frozenset({NO_LONGER, "stopped", "ended", "formerly"})
"""Words that say of a value that it is over."""
RECENT = frozenset({"recently", "lately", "now", "new", "newly", "currently", "started"})
"""Words that say of a value that it is going on of late."""
_COMMON = """
a an the this these their its it they and or also both but while with by of in on at to from for as than
then after before besides beside alongside together instead rather again still more most less much many several
some other others is are was were be been has have had
long-term short-term mostly mainly usually often frequently regularly sometimes typically especially particularly
strongly slightly steadily earlier once first second main strong steady stable typical various mixed
changed changes changing moved moves moving shifted shifts shifting switched switches turned turns growing grows
falling falls rising rises declining declines continues continued continuing keeps kept returned returns
prefers preferred preference preferences favours favoured favors favored favourite favorite likes liked tends
chooses chose choice choices uses used includes included including interest interests interested habit habits
pattern patterns focus taste tastes user person
"""
WORDS = frozenset(_COMMON.split()) | OVER | RECENT


def allowed_words(sources: Iterable[str]) -> frozenset[str]:
    """The words that a text about modalities of these names may have, in lower case."""
    return WORDS | {word for source in sources for word in source.lower().split()}


def forbidden_words(sources: Mapping[str, str], forbidden: Iterable[str]) -> frozenset[str]:
    """The words that only a text about forbidden modalities could have.

    Args:
        sources: by modality what a text calls it.
        forbidden: modalities that no text may speak of.
    """
    banned = set(forbidden)
    spoken = allowed_words(source for name, source in sources.items() if name not in banned)
    return frozenset({word for name in banned for word in sources[name].lower().split()} - spoken)
