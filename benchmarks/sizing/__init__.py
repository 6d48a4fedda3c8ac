"""How many cores, replicas and gibibytes a day's load needs: measured, simulated and planned."""
