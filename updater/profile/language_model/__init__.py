"""The updater by a language model, its pure part: what the model is asked, what it may answer, what is accepted.

A text of this updater follows from the text before and what is new, p(t) = f(p(t-1), Δ(t)), after AlignXplore+ (arXiv
2601.04963). So it is a chain and not a function of the buffer, as the text by rules is. Pure: requests are sent and
rows are written elsewhere (`updater.pipeline.profile_llm`).
"""
