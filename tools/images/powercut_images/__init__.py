"""Disk images and update repositories of real devices, built from Debian packages without a mount."""
