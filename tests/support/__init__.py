"""What tests of several files share: cases, NumPy twins, ensembles, studies, commands, programs that are killed."""
