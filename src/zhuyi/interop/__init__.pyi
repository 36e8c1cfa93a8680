from .families.pytorch import from_state_dict as from_state_dict
