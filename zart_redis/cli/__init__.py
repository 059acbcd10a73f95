"""The commands `zart` and `zart-worker`: what is asked, and how it is shown. Client and worker do the work."""
