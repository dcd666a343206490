"""What `sampan check` looks at, one subject a file. Each check yields what is wrong, with the remedy."""
