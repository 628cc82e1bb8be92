"""Speaker turns as a result: files in and out, pictures, and how far they are from the truth.

- ``turns``: ``Turns``, the value that everything here takes and gives;
- ``rttm``, ``uem``: files read (untrusted) and written;
- ``formats``: turns as text, by the name of a format;
- ``timeline``: turns as a picture;
- ``scoring``: diarization error rate and Jaccard error rate;
- ``score_command``: ``voxport score``.

This package imports none of them: the ``voxport`` script loads its commands at every start.
"""
