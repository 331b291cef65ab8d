"""The plain networks that the LightningModules are built from."""
