"""A tiny job of a real person that tells what compute nodes see: sent, watched, judged, removed."""
