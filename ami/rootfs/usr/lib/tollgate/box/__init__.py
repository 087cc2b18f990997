"""What a machine of the fleet does for its gateway: fetches its configuration, secrets,
certificates and endpoints, and hands them over whole.

One program for each, beside this folder; a unit and a timer each. All of them keep what
was good when something fails, and say what failed on standard error (the journal and
the console), in STATUS and in the log file.

Python, since the image has it with cloud-init, and since answers of AWS are JSON and
XML, and settings YAML. HTTP and signatures are curl's (`curl.py`): no SDK in the image.
Imports nothing but the standard library, and PyYAML, which cloud-init needs too.
"""
