"""What all commands share: options, groups, former spellings, files of ids, the terminal."""
