"""What `compare.py` is made of: libraries, workloads, the processes they run in, and the table."""
