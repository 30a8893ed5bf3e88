"""Flight delay: asked two hours before it leaves, will a flight arrive over 15 minutes late?"""
