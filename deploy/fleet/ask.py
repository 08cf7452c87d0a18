#!/usr/bin/env python3
"""Asks a fleet with paho-mqtt (1.6, as Debian 12 has it, or 2; MQTT 5): python3 ask.py [text...]"""
import json
import sys
import uuid

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

texts = sys.argv[1:] or ["transfer ten dollars to my savings account", "what is my balance"]
reply = f"beta/1/reply/{uuid.uuid4().hex}"
waiting = {}

# Since 2.0 the form of the callbacks is chosen; 1.6 has this form for MQTT 5 alone.
form = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []
client = mqtt.Client(*form, protocol=mqtt.MQTTv5)


def on_connect(client, userdata, flags, reason, properties):
    client.subscribe(reply, qos=1)


def on_subscribe(client, userdata, mid, reasons, properties):
    for number, text in enumerate(texts):
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = reply
        properties.CorrelationData = str(number).encode()
        properties.MessageExpiryInterval = 30
        waiting[str(number)] = text
        client.publish("beta/1/model/intents/infer", json.dumps({"text": text}), qos=1, properties=properties)


def on_message(client, userdata, message):
    text = waiting.pop(message.properties.CorrelationData.decode(), None)
    if text is None:
        return
    answer = json.loads(message.payload)
    print(answer.get("label") or answer["error"]["code"], "-", text)
    if not waiting:
        client.disconnect()


client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
client.connect("127.0.0.1", 1883)
client.loop_forever()
