"""Sample + Verdict -> PreferenceGroup: groups, mining, de-duplication, and their files."""

from rewardranker.preference.files import read_groups, to_pairs
from rewardranker.preference.groups import GroupStatistics, build_groups, merge_groups, usable
from rewardranker.preference.mining import MiningStatistics, mine
from rewardranker.preference.normalise import candidate_key, canonical_program, is_structural
from rewardranker.preference.public_sets import load_preferences

__all__ = [
    "GroupStatistics",
    "MiningStatistics",
    "build_groups",
    "candidate_key",
    "canonical_program",
    "is_structural",
    "load_preferences",
    "merge_groups",
    "mine",
    "read_groups",
    "to_pairs",
    "usable",
]
