"""Names of columns, feature views and features, shared by the publisher and the feature repository."""

ENTITY = "user"
JOIN_KEY = "user_id"
EVENT_TIMESTAMP = "event_timestamp"
CREATED_TIMESTAMP = "created_timestamp"
SUMMARIES_VIEW = "modality_summaries"
PREFIX_FINGERPRINT = "prefix_fingerprint"
PROFILE = "user_text_profile"
"""The textual profile among the scenarios of a head, and where else a view goes without its version."""
PROFILE_VIEW = f"{PROFILE}_v1"
"""Feature view of the textual profile; the number is of the view's features, not of a model."""
PROFILE_DOMAIN = "profile"
PROFILE_SERVICE = f"{PROFILE_DOMAIN}_v1"
PROFILE_TEXT = "profile_text"
PROFILE_DIGEST = "profile_digest"
"""Feature with a digest of the text: equal texts have equal ones."""
PROFILE_UPDATER = "profile_updater"
"""Feature that says who wrote the text, e.g. `rules@4`."""
PROFILE_TOKENS = "profile_tokens"
PROFILE_MODALITIES = "profile_modalities"
"""Feature with the modalities that the text speaks of."""
PROFILE_NEWEST_EVENT_AT = "profile_newest_event_at"
"""Feature with the user's newest event time, seconds since the epoch; null without events that have times."""
PROFILE_FORESIGHT = "profile_foresight_7d"
"""Feature with how well the texts of the days before told what the user's last seven days brought; null if nothing
could be asked. Of 1/2 they tell nothing."""
PROFILE_FORESIGHT_QUESTIONS = "profile_foresight_7d_questions"
"""Feature with the number of values that it was asked of."""
PROFILE_AS_OF = "profile_as_of"
"""Feature with the instant whose knowledge the text reflects, seconds since the epoch."""
PROFILE_LLM = f"{PROFILE}_llm"
PROFILE_LLM_VIEW = f"{PROFILE_LLM}_v1"
"""Feature view of the texts that a language model keeps; its features have the prefix `llm_`."""
PROFILE_LLM_DOMAIN = f"{PROFILE_DOMAIN}_llm"
PROFILE_LLM_SERVICE = f"{PROFILE_LLM_DOMAIN}_v1"
LLM_TEXT = "llm_profile_text"
LLM_DIGEST = "llm_profile_digest"
LLM_UPDATER = "llm_profile_updater"
"""Feature that says which model wrote the text, and by which rules: `llm:<model>@<digest>`."""
LLM_TOKENS = "llm_profile_tokens"
LLM_MODALITIES = "llm_profile_modalities"
LLM_FACETS = "llm_profile_facets"
"""Feature with what the text names, as `modality:value`."""
LLM_PARENT = "llm_profile_parent_digest"
"""Feature with the digest of the text before, empty for a first one."""
LLM_PROMPT = "llm_profile_prompt_digest"
"""Feature with the digest of what the model was asked, empty where it was not."""
LLM_AS_OF = "llm_profile_as_of"


def scenario_view(scenario: str, version: int) -> str:
    """Feature view of a scenario and model version, e.g. `lapse_v1`."""
    return f"{scenario}_v{version}"


def domain_service(domain: str, version: int) -> str:
    """Feature service of a domain and model version, e.g. `risk_v1`."""
    return f"{domain}_v{version}"


def embedding(scenario: str) -> str:
    """Feature with the L2-normalized embedding, float32."""
    return f"{scenario}_embedding"


def as_of(scenario: str) -> str:
    """Feature with the instant whose knowledge the embedding reflects, seconds since the epoch."""
    return f"{scenario}_as_of"


def computed_at(scenario: str) -> str:
    """Feature with the instant at which the embedding was made, seconds since the epoch."""
    return f"{scenario}_computed_at"


def model_version(scenario: str) -> str:
    """Feature with the model version that made the embedding."""
    return f"{scenario}_model_version"


def num_events(modality: str) -> str:
    """Feature with the number of a modality's events in the buffer."""
    return f"{modality}_num_events"


def last_event_at(modality: str) -> str:
    """Feature with a modality's newest event time, seconds since the epoch; null without events."""
    return f"{modality}_last_event_at"
