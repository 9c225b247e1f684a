"""The data that come with the project: rendered cells and real nuclei."""
