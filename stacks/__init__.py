"""The Pulumi program: settings, then layers of components, then outputs."""
