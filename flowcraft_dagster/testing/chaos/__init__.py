"""Many runs of mixed kinds while servers are stopped and started: does each end once, and rightly?"""
