"""What the sub-tasks ask: each module makes the questions of one of them, arrays in, a block of questions out."""
