"""What a service does while its processes are killed and stopped, its disk fills and its clocks jump."""
