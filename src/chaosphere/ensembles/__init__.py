"""Many runs: plans, executors, stores, studies and study files."""
