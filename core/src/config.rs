//! providers.yaml, its layers, and the only place that reads the environment.
