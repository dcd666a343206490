"""Makes `helm/sampan/values.yaml` and `values.schema.json` from models: those here and the settings' own."""
