"""Tables, statements and the engine that runs them; the only package that knows chdb."""
