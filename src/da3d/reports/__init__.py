"""Pictures and pages about what a detector found."""
