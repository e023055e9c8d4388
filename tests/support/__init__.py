"""What tests of several packages share: cases, NumPy twins, members of ensembles, programs that are run and killed."""
