"""Where pictures are made: a face that the web app may import, and the torch side behind it.

The face (request, models, generations, attempts, events, queue, storage, presence, sweep) imports
no torch; the worker, the engine and the filters do, at their first task. The database row is the
truth about a job and the broker's message is only its number, because a broker may lose a message
or deliver it twice: work may run twice, money moves once.
"""
